"""DVC, for a run: whether a stage has changed, what it takes to run it, and keeping what it wrote. The one module that knows DVC's locks.

Of DVC's own processes each runs one stage after the other. Here one process does the bookkeeping of all stages, one at a time, and holds
DVC's lock only meanwhile: commands run outside, side by side. Whoever uses ``dvc`` beside a run waits, or is told that a stage is busy,
as between two of DVC's own processes.
"""

import contextlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from flows.faults import is_sound_state, mend_locks, not_kept, remove_damaged_state, translate
from flows.lockfile import join, split, write_whole
from flows.objects import copying_errors, drop_corrupted, fetch_missing, forget_hashes, mend_objects, missing_objects
from flows.reading import earlier_outputs, remembered_outputs, state_folder
from ledger.errors import ConfigurationError, DataError

logger = logging.getLogger(__name__)

Inputs = dict[str, Any]
Tell = Callable[[str], None]


class Outcome(Enum):
    """What asking for a stage came to."""

    UNCHANGED = "unchanged"
    RESTORED = "restored"
    """Its outputs were brought back from DVC's run-cache."""
    STARTED = "started"
    JOINED = "joined"
    """Another run, which has ended, started it: it is still going, or has finished meanwhile."""


@dataclass(frozen=True)
class Work:
    """What running a stage takes.

    Attributes
    ----------
    commands : list of list of str
        As DVC would run them, one after the other.
    folder : str
        Where they run.
    environment : dict of str to str
        Theirs.
    outputs : list of str
        Absolute paths.
    inputs : dict
        Command, dependencies and parameters, as dvc.lock holds them.
    """

    commands: list[list[str]]
    folder: str
    environment: dict[str, str]
    outputs: list[str]
    inputs: Inputs


class Busy(Exception):  # noqa: N818 (nothing has failed)
    """Another process of DVC's works on a file of the stage; the message says which."""


class Repository:
    """The DVC repository of the working directory; safe to use from many threads, one of which works at a time.

    Raises
    ------
    ConfigurationError
        If there is none.
    """

    def __init__(self) -> None:
        self._repo = open_repository(wait=True)
        self._guard = threading.RLock()
        self._depth = 0
        self._stages: dict[str, Any] = {}
        self._seen: dict[Path, tuple[int, ...] | None] = {}
        self._open: dict[str, Any] = {}
        self._orders: dict[str, list[str]] = {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[Any]:
        """Hold DVC's lock of the repository, having read again what others have changed; the lock waits for its turn."""
        with self._guard:
            if self._depth:
                yield self._repo
                return
            with _named_errors(), self._repo.lock:
                self._depth = 1
                try:
                    for line in () if self._stages else mend_locks(Path(self._repo.root_dir)):
                        logger.warning(line)
                    self._read()
                    yield self._repo
                finally:
                    self._depth = 0

    def changed(self, addresses: Iterable[str]) -> set[str]:
        """Return the stages that would run; one that another process works on is taken for changed."""
        found = set()
        with self.locked():
            for address in addresses:
                try:
                    if self._is_changed(self._stage(address)):
                        found.add(address)
                except Busy:
                    found.add(address)
        return found

    def begin(
        self,
        address: str,
        known: Inputs | None,
        start: Callable[[Work], int],
        clear: Callable[[], None],
        tell: Tell = logger.warning,
    ) -> Outcome:
        """Find out what a stage needs, and start it where it has to run.

        Parameters
        ----------
        address : str
            The stage, which the caller holds against other runs.
        known : dict or None
            The inputs of an attempt that is going on, or has finished and was not kept: it is joined if they still hold.
        start : callable
            Starts the work, and returns the process id by which other DVC processes see that the stage is busy.
        clear : callable
            Called before outputs are removed or brought back: ends what still works on them.
        tell : callable
            Takes what is to be said of objects that were corrupted or missing.

        Raises
        ------
        Busy
            If another process works on a file of the stage; ask again later.
        DataError
            If a dependency is missing.
        """
        with self.locked() as repo, repo.scm_context(quiet=True):
            stage = self._stage(address)
            if known is None and not self._is_changed(stage):
                return Outcome.UNCHANGED
            if stage.frozen:
                stage.run()
                self._write_entry(stage)
                return Outcome.UNCHANGED
            before = [(dep, dep.hash_info, dep.meta) for dep in stage.deps]
            _save_dependencies(stage)
            inputs = _inputs(stage)
            self._open[address] = stage
            if known is not None and inputs == known:
                return Outcome.JOINED
            as_recorded = not stage.cmd_changed and all(dep.hash_info == info for dep, info, _ in before)
            if as_recorded and not stage.always_changed and self._keep_again(stage):
                return Outcome.UNCHANGED
            coming = earlier_outputs(stage, as_recorded)
            clear()
            for dep, info, meta in before:  # the run-cache compares with what the lock says
                dep.hash_info, dep.meta = info, meta
            if known is not None and not self._is_changed(stage):
                return Outcome.UNCHANGED
            with _busy():
                stage.remove_outs(ignore_remove=False, force=False)
            if coming is not None:
                self._bring(coming, tell)
            if self._restore(stage):
                self._keep(stage, cached=True)
                return Outcome.RESTORED
            stage.save_deps()
            self._mark_busy(stage, start(_work(stage, inputs)))
            return Outcome.STARTED

    def finish(self, address: str, owner: int | None = None) -> list[str]:
        """Keep what a stage wrote: hashes, DVC's cache, the run-cache, and last its entry in dvc.lock.

        Parameters
        ----------
        address : str
            A stage that `begin` started or joined.
        owner : int or None
            The process id that `start` returned.

        Returns
        -------
        list of str
            Dependencies that were edited while the stage ran. dvc.lock says what they were when it started, so that it runs again.

        Raises
        ------
        Busy
            If another process works on a file of the stage; ask again later.
        """
        with self.locked() as repo, repo.scm_context(quiet=True):
            self.release(owner)
            stage = self._open[address]
            edited = [str(dep) for dep in stage.deps if dep.workspace_status()]
            with _busy():
                self._keep(stage, cached=not edited)
            del self._open[address]  # kept: who found it busy asks again
            return edited

    def mend_cache(self) -> list[str]:
        """Make DVC's cache fit to be pushed: no object is corrupted. Returns what to say of those that were.

        Raises
        ------
        DataError
            If an output is corrupted in the cache, and is not in the workspace either.
        """
        with self.locked() as repo:
            root = Path(repo.root_dir)
            said, lost = mend_objects(repo, repo.index.outs, root)
            said += drop_corrupted(remembered_outputs(repo), root)  # `dvc push --run-cache` takes these along
        if lost:
            raise DataError(
                f"{', '.join(lost)}: corrupted in DVC's cache, and not in the workspace; nothing is pushed; "
                "`pricecut run` makes what stages write anew, `dvc fetch` brings what a remote has"
            )
        return said

    def release(self, owner: int | None) -> None:
        """Tell DVC that nobody works on a stage any more."""
        if owner is None:
            return
        from dvc.rwlock import _edit_rwlock

        with self.locked() as repo, _edit_rwlock(repo.tmp_dir, repo.fs, _hardlink(repo)) as lock:
            for path in [path for path, info in lock["write"].items() if info["pid"] == owner]:
                del lock["write"][path]
            for path, readers in list(lock["read"].items()):
                lock["read"][path] = [info for info in readers if info["pid"] != owner]
                if not lock["read"][path]:
                    del lock["read"][path]

    def _read(self) -> None:
        """Read dvc.yaml and dvc.lock again where another process, or a person, has written one since."""
        if self._stages and all(_signature(path) == seen for path, seen in self._seen.items()):
            return
        self._repo._reset()
        files: set[Path] = set()
        self._stages = {}
        for stage in self._repo.index.stages:
            if not hasattr(stage, "name"):
                continue  # a .dvc file: data that someone added
            files |= {Path(stage.path), Path(stage.path).with_suffix(".lock")}
            self._stages[stage.addressing] = stage
        files.add(Path(self._repo.root_dir) / "params.yaml")
        self._seen = {path: _signature(path) for path in files}
        self._orders = {}

    def _stage(self, address: str) -> Any:
        if address not in self._stages:
            raise DataError(f"dvc.yaml: the stage '{address}' is not there any more; start the run again")
        # What was written by a stage may hold a .dvcignore; and what DVC has listed of folders is old.
        for cached in ("dvcignore", "dvcfs", "datafs"):
            self._repo.__dict__.pop(cached, None)
        return self._stages[address]

    def _is_changed(self, stage: Any) -> bool:
        with _busy():
            return bool(stage.changed()) or bool(stage.always_changed)

    def _keep_again(self, stage: Any) -> bool:
        """Put outputs that the cache has lost back into it, where all of them stand in the workspace as dvc.lock has them."""
        if not all(out.hash_info and out.exists for out in stage.outs):
            return False
        forget_hashes(self._repo, stage.outs)
        if not all(out.get_hash() == out.hash_info for out in stage.outs):
            return False
        self._put_into_cache(stage)
        return True

    def _bring(self, outs: list[Any], tell: Tell) -> None:
        """See to it that what DVC is about to bring back is sound, and there; it looks at neither itself."""
        root = Path(self._repo.root_dir)
        for line in drop_corrupted(outs, root):
            tell(line)
        fetch_missing(self._repo, outs, tell, root)

    def _restore(self, stage: Any) -> bool:
        from dvc.exceptions import CheckoutError
        from dvc.stage.cache import RunCacheNotFoundError

        try:
            self._repo.stage_cache.restore(stage)
            return True
        except (RunCacheNotFoundError, CheckoutError):
            return False

    def _keep(self, stage: Any, cached: bool) -> None:
        forget_hashes(self._repo, stage.outs)
        stage.save_outs()
        stage.md5 = stage.compute_md5()
        uncached = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        if cached and not uncached:
            self._repo.stage_cache.save(stage)
        self._put_into_cache(stage)
        self._write_entry(stage)
        stage.cmd_changed = False

    def _put_into_cache(self, stage: Any) -> None:
        # DVC leaves an object that is there already where it is, whatever its bytes.
        for line in drop_corrupted(stage.outs, Path(self._repo.root_dir)):
            logger.warning(line)
        # Without linking outputs anew: until dvc.lock says so, they are the one proof that the work is done.
        with copying_errors() as errors:
            stage.commit(relink=False)
        if lacking := missing_objects(stage.outs):
            raise not_kept(lacking, self._repo.cache.local.path, errors)

    def _write_entry(self, stage: Any) -> None:
        from dvc.stage.serialize import to_lockfile
        from dvc.utils.serialize import dumps_yaml

        path = Path(stage.path).with_suffix(".lock")
        entry = dumps_yaml({"stages": to_lockfile(stage)}).split("\n", 1)[1]
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        head, entries, after = split(text, Path(os.path.relpath(path)))
        written = join(head, entries | {stage.name: entry}, after, self._order(stage.path))
        if written != text:
            write_whole(path, written)
            self._seen[path] = _signature(path)

    def _order(self, file: str) -> list[str]:
        """Return the names of a dvc.yaml's stages in the order in which a serial `dvc repro` of all reaches them."""
        if file not in self._orders:
            import networkx as nx
            from dvc.repo.reproduce import get_active_graph

            graph = get_active_graph(self._repo.index.graph)
            walked = [stage for stage in nx.dfs_postorder_nodes(graph) if hasattr(stage, "name")]
            self._orders[file] = [stage.name for stage in walked if stage.path == file]
        return self._orders[file]

    def _mark_busy(self, stage: Any, owner: int) -> None:
        """Enter the process that does the work where DVC's other processes look; when it has died they take the entry away."""
        from dvc.rwlock import _acquire_read, _acquire_write, _edit_rwlock

        info = {"pid": owner, "cmd": f"pricecut {stage.addressing}"}
        with _edit_rwlock(self._repo.tmp_dir, self._repo.fs, _hardlink(self._repo)) as lock:
            _acquire_read(lock, info, [dep.fs_path for dep in stage.deps])
            _acquire_write(lock, info, [out.fs_path for out in stage.outs])


def open_repository(wait: bool = False) -> Any:
    """Open DVC's repository of the working directory.

    Parameters
    ----------
    wait : bool
        Whether its lock waits for its turn, however long.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    from dvc.exceptions import NotDvcRepoError  # half a second
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with _named_errors():
            try:
                repo = Repo(_wait_for_lock=wait)
                if is_sound_state(Path(repo.site_cache_dir)):
                    return repo
                repo.close()
            except sqlite3.DatabaseError:
                pass
            for line in remove_damaged_state(state_folder()):
                logger.warning(line)
            return Repo(_wait_for_lock=wait)
    except NotDvcRepoError:
        raise ConfigurationError(
            f"{Path.cwd()}: no DVC repository; run `dvc init` there, or change into your clone"
        ) from None


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    from dvc.exceptions import NotDvcRepoError

    try:
        yield
    except (NotDvcRepoError, Busy):
        raise
    except Exception as error:
        said = translate(error)
        if said is None or said is error:
            raise
        raise said from error


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    from dvc.lock import LockError

    try:
        yield
    except LockError as error:
        raise Busy(str(error).splitlines()[0]) from None


def _save_dependencies(stage: Any) -> None:
    from dvc.dependency.base import DependencyDoesNotExistError

    try:
        stage.save_deps()
    except DependencyDoesNotExistError as missing:
        path = str(missing).partition("'")[2].rpartition("'")[0] or str(missing)
        raise DataError(
            f"{path}: not found, and '{stage.addressing}' reads it; bring it there, or correct apps in params.yaml"
        ) from None


def _work(stage: Any, inputs: Inputs) -> Work:
    from dvc.stage.run import _enforce_cmd_list, _make_cmd, get_executable, prepare_kwargs

    prepared = prepare_kwargs(stage)
    shell = get_executable()
    return Work(
        commands=[_make_cmd(shell, command) for command in _enforce_cmd_list(stage.cmd)],
        folder=prepared["cwd"],
        environment=prepared["env"],
        outputs=[out.fs_path for out in stage.outs],
        inputs=inputs,
    )


def _inputs(stage: Any) -> Inputs:
    from dvc.stage.serialize import to_single_stage_lockfile

    document = {key: value for key, value in to_single_stage_lockfile(stage).items() if key != "outs"}
    plain: Inputs = json.loads(json.dumps(document, default=str))  # as an attempt's file gives it back
    return plain


def _hardlink(repo: Any) -> bool:
    return bool(repo.config["core"].get("hardlink_lock", False))


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
