"""What DVC brings and takes: sources pulled, results pushed, released models fetched, what no one keeps removed.

By DVC's command, in processes of their own: that is the interface it keeps, and its lock is waited for.
"""

import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from flows.repository import Repository
from flows.versions import Release, without_secrets
from ledger.errors import ConfigurationError, DataError
from ledger.parameters import read_yaml

logger = logging.getLogger(__name__)


def tracked_sources(sources: Path, root: Path = Path()) -> list[Path]:
    """Return the ``.dvc`` files that an app's sources come from: beside, within or above its folder.

    Parameters
    ----------
    sources : Path
        ``apps.<app>.sources`` of params.yaml.
    root : Path
        The project's root.
    """
    above = [folder.with_name(f"{folder.name}.dvc") for folder in (sources, *sources.parents) if folder.name]
    within = (root / sources).rglob("*.dvc") if (root / sources).is_dir() else ()
    found = {path for path in above if (root / path).is_file()}
    return sorted(found | {path.relative_to(root) for path in within if path.is_file()})


def is_import(path: Path) -> bool:
    """Whether a ``.dvc`` file names where its data come from (``dvc import-url``, ``dvc import``), so that it can be updated."""
    return bool(read_yaml(path).get("deps"))


def has_remote() -> bool:
    """Whether DVC has a default remote to push to."""
    return bool(_dvc("config", "core.remote", may_fail=True).strip())


def bring_sources(files: Iterable[Path]) -> None:
    """Bring what the ``.dvc`` files of an app's sources name: imports as they are now, other data as their file says.

    Raises
    ------
    DataError
        If a place does not answer, or data here have changes that would be lost.
    """
    files = list(files)
    imports = [path for path in files if is_import(path)]
    kept = [path for path in files if path not in imports]
    if imports:
        _dvc("update", *map(str, imports))
    if kept:
        _dvc("pull" if has_remote() else "checkout", *map(str, kept))


def bring_history() -> None:
    """Bring the record of what stages were run, so that what another machine did is not done again here."""
    _dvc("fetch", "--run-cache", may_fail=True)


def push(addresses: Iterable[str]) -> None:
    """Bring stages' outputs, and the record of their runs, to DVC's remote; nothing corrupted goes there."""
    for line in Repository().mend_cache():
        logger.warning(line)
    _dvc("push", "--run-cache", *addresses)


def bring_release(release: Release, into: Path) -> bool:
    """Write a released model into a new folder; False where its files are nowhere any more."""
    wanted = ["artifacts", "get", ".", release.app, "--rev", release.version, "--out", str(into)]
    _dvc(*wanted, may_fail=True)
    return into.is_dir() and any(into.iterdir())


def remove_unused(in_remote: bool) -> None:
    """Remove from DVC's cache what neither this working tree nor a branch, a tag or an experiment names."""
    kept = ["--workspace", "--all-branches", "--all-tags", "--all-experiments", "--force"]
    _dvc("gc", *kept, *(["--cloud"] if in_remote else []))


def _dvc(*arguments: str, may_fail: bool = False) -> str:
    """Run DVC's command; raise a DataError with what it said, unless that may fail."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode and not may_fail:
        lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        said = " ".join(lines) or " ".join(done.stderr.split())[-500:]
        told = f"dvc {arguments[0]}: {without_secrets(said)}"
        if "no remote" in said:
            raise ConfigurationError(told)
        raise DataError(told)
    return done.stdout
