"""Asks git which commits changed a file since it was as DVC recorded it."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

DEEPEST = 500
"""Commits that are looked through; a file that changed before that is named without its commits."""


@dataclass(frozen=True)
class Since:
    """What has happened to a file since.

    Attributes
    ----------
    commits : tuple of str
        The newest first, each as ``c602b79 subject``.
    uncommitted : bool
        Whether the file on disk differs from what is committed last.
    """

    commits: tuple[str, ...]
    uncommitted: bool


def commits_since(recorded: Mapping[Path, str], root: Path) -> dict[Path, Since]:
    """Return what happened to files since their bytes had a given MD5.

    Parameters
    ----------
    recorded : mapping of Path to str
        Relative to the root, each with the MD5 of its bytes as DVC recorded it.
    root : Path
        The project's root.

    Returns
    -------
    dict of Path to Since
        Only of files that git tracks. Without commits where no version with that MD5 is found.
    """
    if not recorded:
        return {}
    history = _history(list(recorded), root)
    blobs = _digests({blob for changes in history.values() for _, blob in changes}, root)
    found = {}
    for path, changes in history.items():
        versions = [(commit, blobs.get(blob)) for commit, blob in changes]
        position = next((i for i, (_, digest) in enumerate(versions) if digest == recorded[path]), None)
        commits = tuple(commit for commit, _ in versions[:position]) if position is not None else ()
        on_disk = root / path
        current = hashlib.md5(on_disk.read_bytes(), usedforsecurity=False).hexdigest() if on_disk.is_file() else None
        found[path] = Since(commits, current != versions[0][1])
    return found


def _history(paths: list[Path], root: Path) -> dict[Path, list[tuple[str, str]]]:
    """Return each file's versions, the newest first: a commit, and the blob that it left."""
    how = [f"--max-count={DEEPEST}", "--raw", "--no-abbrev", "--no-renames", "--relative", "-z"]
    log = _git(["log", "--format=%x01%H %s%x02", *how], paths, root).decode(errors="replace")
    history: dict[Path, list[tuple[str, str]]] = {}
    for told in log.split("\x01")[1:]:
        head, _, raw = told.partition("\x02")
        name, _, subject = head.partition(" ")
        fields = [field.strip("\n") for field in raw.split("\0")]
        for change, path in pairwise(fields):
            if change.startswith(":"):  # :mode mode blob-before blob-after letter
                history.setdefault(Path(path), []).append((f"{name[:7]} {subject}", change.split(" ")[3]))
    return history


def _digests(blobs: set[str], root: Path) -> dict[str, str]:
    """Return the MD5 of the bytes of blobs, all read by one process."""
    if not blobs:
        return {}
    command = ["git", "cat-file", "--batch"]
    done = subprocess.run(command, cwd=root, input="\n".join(blobs).encode(), capture_output=True, check=False)
    digests, rest = {}, done.stdout
    while rest:
        head, _, rest = rest.partition(b"\n")
        blob, kind, *size = head.decode().split(" ")
        if kind == "missing" or not size:
            continue
        digests[blob] = hashlib.md5(rest[: int(size[0])], usedforsecurity=False).hexdigest()
        rest = rest[int(size[0]) + 1 :]
    return digests


def _git(arguments: list[str], paths: list[Path], root: Path) -> bytes:
    """Run git, which takes no lock for this; nothing where git is not there or this is no repository of it."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments, "--", *map(str, paths)],
            cwd=root,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode == 0 else b""
