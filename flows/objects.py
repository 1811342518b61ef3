"""Objects of DVC's cache: whether their bytes are what their names say, and what to do about those that are not.

DVC takes any object that is read-only for sound (`LocalHashFileDB.check`, dvc_data 3.18): one that a disk, or a hand, has changed is put
into the workspace, is pushed, and stands in the way of the right bytes for ever.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ASIDE = Path(".pricecut/corrupted")
"""Where corrupted objects are moved: of no use to DVC, perhaps to a person."""
HALF_IS_OLD_AFTER = 600.0
"""Seconds after which a half-written object of a shared cache is taken for one whose writer has died."""
A_MOMENT = 0.05
"""Seconds; far longer than from closing a file to renaming it."""

Tell = Callable[[str], None]


def objects_of(outs: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Give the objects of outputs, each once: DVC's object database, and the object's name. A folder comes before its files."""
    given = set()
    for out in outs:
        if not out.hash_info:
            continue
        tree = out.get_obj() if out.hash_info.isdir else None
        names = [out.hash_info.value, *(oid.value for _, _, oid in tree or ())]
        for name in names:
            if name not in given:
                given.add(name)
                yield out.cache, name


def verify_objects(outs: Iterable[Any]) -> list[Path]:
    """Return the objects of outputs whose bytes are not what their names say, whatever DVC believes; each is read whole.

    Parameters
    ----------
    outs : iterable of dvc.output.Output
        With the hashes that are looked for.
    """
    return [Path(odb.oid_to_path(name)) for odb, name in objects_of(outs) if not _is_sound(odb, name)]


def _is_sound(odb: Any, name: str) -> bool:
    """Whether an object's bytes are what its name says; one that is not there is not unsound."""
    from dvc_data.hashfile.hash import file_md5

    try:
        return bool(file_md5(odb.oid_to_path(name), name=odb.hash_name) == name.removesuffix(".dir"))
    except FileNotFoundError:
        return True
    except OSError:  # the disk cannot read it any more
        return False


def drop_corrupted(outs: Iterable[Any], root: Path = Path()) -> list[str]:
    """Move corrupted objects of outputs out of the cache, so that they are fetched, or made, anew; return what to say of each.

    Parameters
    ----------
    outs : iterable of dvc.output.Output
        With the hashes that are looked for.
    root : Path
        The project's root.
    """
    said = []
    for path in verify_objects(outs):
        name = path.parent.name + path.name
        (root / ASIDE).mkdir(parents=True, exist_ok=True)
        try:
            path.replace(root / ASIDE / name)
        except OSError:  # on another disk, or one that cannot be read
            path.unlink(missing_ok=True)
        said.append(f"DVC's cache: the object {name} was corrupted, and is now in {ASIDE}; it is fetched or made anew")
    return said


@contextlib.contextmanager
def copying_errors() -> Iterator[list[BaseException]]:
    """Collect what goes wrong while DVC copies objects, which it logs, at length, and forgets."""
    collected: list[BaseException] = []

    def collect(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            collected.append(record.exc_info[1])
        return False

    logger = logging.getLogger("dvc_data.hashfile.transfer")
    logger.addFilter(collect)
    try:
        yield collected
    finally:
        logger.removeFilter(collect)


def missing_objects(outs: Iterable[Any]) -> list[str]:
    """Return the outputs of which something is not in the cache. DVC does not say so itself when a copy into it fails."""
    return [str(out) for out in outs if out.use_cache and not is_whole(out)]


def is_whole(out: Any) -> bool:
    """Whether all of an output is in the cache. Unlike DVC's own check, this removes nothing that it finds corrupted."""
    return out.get_obj() is not None and all(Path(odb.oid_to_path(name)).is_file() for odb, name in objects_of([out]))


def fetch_missing(repo: Any, outs: Iterable[Any], tell: Tell, root: Path = Path()) -> None:
    """Fetch from the remote, where there is one, what outputs lack in the cache; what arrives corrupted is dropped.

    What a remote does not give, be it lost, is told, and no more: it can be made here. Of one that stands empty, as `make remote`
    leaves it, nothing is expected.
    """
    lacking = [out for out in outs if out.use_cache and out.hash_info and not is_whole(out)]
    remote = repo.config["core"].get("remote")
    if not lacking or not remote:
        return
    try:
        if _is_empty_folder(repo.cloud.get_remote(command="fetch")):
            return
        for objects in (out.get_used_objs() for out in lacking):
            for infos in objects.values():
                repo.cloud.pull(infos)
    except Exception as error:  # whatever a remote of any kind may raise
        tell(f"the remote '{remote}' cannot be read ({error})")
    for line in drop_corrupted(lacking, root):
        tell(f"from the remote: {line}")
    if missing := missing_objects(lacking):
        tell(f"the remote '{remote}' does not have, or cannot give, {', '.join(missing)}: made here")


def _is_empty_folder(remote: Any) -> bool:
    """Whether a remote is a folder of this machine that stands, and in which nothing was ever kept."""
    if remote.fs.protocol != "local":
        return False
    folder = Path(remote.path)
    return folder.is_dir() and not any(folder.iterdir())


def mend_objects(repo: Any, outs: Iterable[Any], root: Path = Path()) -> tuple[list[str], list[str]]:
    """Drop corrupted objects, and put them back from the workspace where that still has the right bytes.

    To be called before a push, so that nothing corrupted reaches a remote.

    Returns
    -------
    tuple of list of str
        What to say of the objects that were dropped; the outputs that are not whole in the cache after all.
    """
    outs = [out for out in outs if out.use_cache and out.hash_info]
    said = drop_corrupted(outs, root)
    lost = []
    for out in outs if said else ():
        if is_whole(out):
            continue
        forget_hashes(repo, [out])
        with contextlib.suppress(Exception):  # nothing there, or something else: then it is lost here
            if out.exists and out.get_hash() == out.hash_info:
                out.commit(relink=False)
        if not is_whole(out):
            lost.append(str(out))
    return said, lost


def forget_hashes(repo: Any, outs: Iterable[Any]) -> None:
    """Make DVC hash the files of outputs anew, rather than trust inode, size and time of change.

    A command that sets the time itself (``cp -p``, ``tar``) may leave a file that has all three from the one that was there before.
    """
    hashes = getattr(repo.state, "hashes", None)
    if hashes is not None:
        for path in (path for out in outs for path in _files(Path(out.fs_path))):
            hashes.delete(str(path))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, _, names in os.walk(path):
            yield from (Path(folder, name) for name in names)
    else:
        yield path


def clear_halves(repo: Any) -> int:
    """Remove what DVC left half-written in its cache when it was killed or the disk was full; return the bytes that are free again.

    In a cache of the clone's own that is what no process has open, now and a moment later: whoever writes it has it open, and then gives
    it its name at once. A cache elsewhere may have writers on other machines, so there age decides.
    """
    cache = Path(repo.cache.local.path)
    halves = {half for half in cache.rglob(".*.tmp") if half.is_file()}
    if cache.is_relative_to(repo.root_dir):
        for _ in range(2 if halves else 0):
            halves -= _open_files()
            time.sleep(A_MOMENT)
    else:
        halves = {half for half in halves if _age(half) > HALF_IS_OLD_AFTER}
    freed = 0
    for half in halves:
        with contextlib.suppress(OSError):
            size = half.stat().st_size
            half.unlink()
            freed += size
    return freed


def _age(path: Path) -> float:
    """Seconds since a file was written to, whichever way a clock went; 0 if it has gone."""
    with contextlib.suppress(OSError):
        return abs(time.time() - path.stat().st_mtime)
    return 0.0


def _open_files() -> set[Path]:
    """Return what the processes of this machine that may be looked into have open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            found.add(link.readlink())
    return found
