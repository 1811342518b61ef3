"""Reads DVC's repository without writing to it: what is recorded, and what its cache would bring back."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from flows.faults import is_sound_state
from ledger.errors import ConfigurationError, DataError


@contextmanager
def open_for_reading() -> Iterator[Any]:
    """Open DVC's repository so that nothing is written to it: no lock, no ignore file, no temporary.

    Hashes that DVC keeps in its state database, outside the repository, are used where that is there.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    with tempfile.TemporaryDirectory(prefix="pricecut-") as folder:

        class ReadOnlyRepo(Repo):
            """DVC's repository, whose temporaries stand elsewhere."""

            tmp_dir = folder

            @cached_property
            def _btime(self) -> float | None:
                kept = Path(self.root_dir, ".dvc", "tmp", "btime")
                return kept.stat().st_mtime if kept.exists() else None

            @cached_property
            def site_cache_dir(self) -> str:
                if self._btime is None:
                    return folder
                usual = Path(Repo.site_cache_dir.__get__(self, Repo))
                inside = usual.is_relative_to(self.root_dir)
                return str(usual) if usual.exists() and not inside and is_sound_state(usual) else folder

            def _ignore(self) -> None:
                pass

        try:
            with ReadOnlyRepo() as repo:
                yield repo
        except NotDvcRepoError:
            raise ConfigurationError(
                f"{Path.cwd()}: no DVC repository; run `dvc init` there, or change into your clone"
            ) from None
        except DvcException as error:
            raise DataError(f"dvc.yaml: {error}") from None


def state_folder() -> Path:
    """Return where DVC keeps its databases of hashes for the repository of the working directory, whatever state they are in."""
    from dvc.repo import Repo

    with open_for_reading() as repo:
        return Path(Repo.site_cache_dir.__get__(repo, Repo))


def earlier_outputs(stage: Any, as_recorded: bool) -> list[Any] | None:
    """Return the outputs, with hashes, that DVC's restore would bring back, whether or not its cache has them; None where it knows none.

    Not by `StageCache.restore(dry=True)`: that removes an entry that it cannot read.

    Parameters
    ----------
    stage : dvc.stage.Stage
        Whose dependencies and parameters say what they are now.
    as_recorded : bool
        Whether command, dependencies and parameters are as dvc.lock has them: then its outputs are the ones.
    """
    from dvc.stage.cache import _get_cache_hash
    from dvc.stage.serialize import to_single_stage_lockfile

    if as_recorded and all(out.hash_info for out in stage.outs):
        return list(stage.outs)
    with suppress(Exception):  # an entry that cannot be read brings nothing back, whatever is wrong with it
        if _has_runs(stage):
            key = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
            entries = Path(stage.repo.stage_cache._get_cache_dir(key)).glob("*")
            newest = max(entries, key=lambda entry: entry.stat().st_mtime, default=None)
            return None if newest is None else _outputs(stage.repo, newest, stage.wdir)
    return None


def _has_runs(stage: Any) -> bool:
    """Whether DVC remembers runs of a stage (dvc/stage/cache.py, `_can_hash`), from what is known, without looking at its files."""
    return (
        all((stage.cmd, stage.deps, stage.outs))
        and not stage.always_changed
        and all(dep.protocol == "local" and dep.def_path and dep.hash_info for dep in stage.deps)
        and all(out.protocol == "local" and out.is_in_repo and not out.persist for out in stage.outs)
        and all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs)
    )


def remembered_outputs(repo: Any) -> Iterator[Any]:
    """Give the outputs, with hashes, of every run that DVC's cache remembers."""
    for entry in Path(repo.stage_cache.cache_dir).glob("*/*/*"):
        with suppress(Exception):
            yield from _outputs(repo, entry, repo.root_dir)


def _outputs(repo: Any, entry: Path, folder: str) -> list[Any]:
    from dvc.utils.serialize import load_yaml

    return list(repo.stage_cache._create_stage(load_yaml(str(entry)), wdir=folder).outs)
