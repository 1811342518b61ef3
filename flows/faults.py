"""What goes wrong around DVC, said so that its reader can mend it: full and read-only disks, damaged files, lost remotes."""

import errno
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import yaml

from flows.apps import PIPELINES
from flows.lockfile import parse, write_whole
from ledger.errors import DataError, PricecutError

ASIDE = Path(".pricecut/set_aside")
"""Where files that were mended are kept as they were."""
_CONFLICT = re.compile(r"^([<=>]{7})( |$)", re.MULTILINE)

AGAIN = "then start the run again: what has finished is kept"

_DISKS = {
    errno.ENOSPC: f"the disk is full; free some space, {AGAIN}",
    errno.EDQUOT: f"the disk quota is used up; free some space, {AGAIN}",
    errno.EFBIG: f"the file is larger than this process may write (see `ulimit -f`); raise the limit, {AGAIN}",
    errno.EROFS: f"the disk is mounted read-only; mount it for writing, {AGAIN}",
    errno.EACCES: f"not allowed; give the user that runs this the right to read and write there, {AGAIN}",
    errno.EPERM: f"not allowed; give the user that runs this the right to read and write there, {AGAIN}",
    errno.EIO: f"the disk cannot read or write it; look at the system's log for a failing disk, {AGAIN}",
    errno.EMFILE: f"too many open files (see `ulimit -n`); raise the limit, {AGAIN}",
}
"""What to say of an operating system's error, after the file's name."""

SPARE = 1_000_000
"""Bytes free below which a disk is taken for full."""

_SAID_BY_STAGES = {
    errno.ENOSPC: re.compile(r"No space left on device|\[Errno 28\]|database or disk is full"),
    errno.EDQUOT: re.compile(r"Disk quota exceeded|\[Errno 122\]"),
    errno.EROFS: re.compile(r"Read-only file system|\[Errno 30\]"),
}


def translate(error: BaseException) -> PricecutError | None:
    """Turn what DVC, a database or the operating system raised into one sentence for its reader; None for what is no fault of theirs.

    Parameters
    ----------
    error : BaseException
        With the errors that caused it.
    """
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, PricecutError):
            return cause
        if isinstance(cause, OSError) and cause.errno in _DISKS:
            return DataError(f"{_place(cause)}: {_DISKS[cause.errno]}")
    for cause in chain:
        said = _said(cause)
        if said is not None:
            return DataError(said)
    return None


def _said(error: BaseException) -> str | None:
    """Say what an error of DVC's or of its database means."""
    from dvc.config import RemoteConfigError
    from dvc.exceptions import CacheLinkError, CheckoutError, DvcException, FileTransferError
    from dvc.rwlock import RWLockFileCorruptedError, RWLockFileFormatError
    from dvc_data.hashfile.cache import DiskError
    from dvc_objects.fs.errors import AuthError, RemoteMissingDepsError

    why = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, sqlite3.Error | DiskError):
        if "full" in why:
            return f"DVC's database of hashes: {_DISKS[errno.ENOSPC]}"
        if "locked" in why:
            return "DVC's database of hashes is busy; start the run again when other DVC processes have ended"
        return f"DVC's database of hashes cannot be read ({why}); it only saves time: start the run again, which removes it"
    if isinstance(error, RWLockFileCorruptedError | RWLockFileFormatError):
        return f".dvc/tmp/rwlock: cannot be read ({why}); start the run again, which writes it anew"
    if isinstance(error, AuthError | RemoteMissingDepsError | RemoteConfigError | FileTransferError | ConnectionError):
        return f"DVC's remote: {why}; look at `dvc remote list` and whether it can be reached, {AGAIN}"
    if isinstance(error, CacheLinkError):
        return f"DVC's cache: {why}"
    if isinstance(error, CheckoutError):
        missing = ", ".join(error.target_infos)
        return f"{missing}: not in DVC's cache; `dvc fetch` brings it where a remote has it, else run the stage that writes it"
    if isinstance(error, DvcException):
        return f"DVC: {why}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _place(error: OSError) -> str:
    names = [str(name) for name in (error.filename2, error.filename) if name]
    return names[0] if names else (error.strerror or str(error))


def advice(lines: Iterable[str]) -> str | None:
    """Return what to do where a stage that failed has said that the disk is full or read-only; None where it has not."""
    text = "\n".join(lines)
    return next((_DISKS[number] for number, pattern in _SAID_BY_STAGES.items() if pattern.search(text)), None)


def full_disk(folder: Path) -> str | None:
    """Return what to do where a folder's disk has no room left, on which a stage cannot even say so; None where it has."""
    return _DISKS[errno.ENOSPC] if shutil.disk_usage(folder).free < SPARE else None


def not_kept(outputs: Iterable[str], cache: str, errors: Iterable[BaseException] = ()) -> DataError:
    """Return what to say where outputs did not arrive in DVC's cache, which DVC does not say itself.

    Parameters
    ----------
    outputs : iterable of str
        Their paths.
    cache : str
        The cache's folder.
    errors : iterable of BaseException
        What went wrong meanwhile, if that is known.
    """
    free = shutil.disk_usage(cache).free if Path(cache).is_dir() else 0
    why = "".join(f" ({getattr(error, 'strerror', None) or error})" for error in list(errors)[:1])
    return DataError(
        f"{', '.join(outputs)}: could not be copied to DVC's cache, {cache}{why}, where {free / 1e6:,.0f} MB are free; "
        f"expected a disk with room that can be written to; make some, {AGAIN}"
    )


def mend_locks(root: Path) -> list[str]:
    """Mend each dvc.lock that was cut off: whole entries are kept, what is lost comes back from DVC's run-cache. Says what was done.

    The broken file is kept under ``.pricecut/set_aside``. One that git left with conflict marks is not touched: a person has to choose.

    Parameters
    ----------
    root : Path
        The project's root, whose DVC lock the caller holds: nobody is writing these files.
    """
    said = []
    for folder in PIPELINES:
        path = root / folder / "dvc.lock"
        if not path.is_file() or _is_lock(text := path.read_text(encoding="utf-8", errors="replace")):
            continue
        if _CONFLICT.search(text):
            continue
        kept = salvage(text)
        aside = root / ASIDE / f"{'-'.join(folder.parts) or 'root'}.dvc.lock"
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, aside)
        if kept:
            write_whole(path, kept)
        else:
            path.unlink()
        said.append(
            f"{folder / 'dvc.lock'}: was cut off; the entries that were whole are kept, the others come from DVC's run-cache; "
            f"the broken file is {aside.relative_to(root)}"
        )
    return said


def salvage(text: str) -> str:
    r"""Return the longest start of a dvc.lock that is whole, up to before an entry; empty where nothing is.

    Examples
    --------
    >>> salvage("schema: '2.0'\nstages:\n  a:\n    cmd: x\n  b:\n    cm")
    "schema: '2.0'\nstages:\n  a:\n    cmd: x\n"
    """
    starts = [match.start() for match in re.finditer(r"^  \S", text, re.MULTILINE)]
    return next((text[:start] for start in reversed(starts[1:]) if _is_lock(text[:start])), "")


def _is_lock(text: str) -> bool:
    """Whether a text is a dvc.lock that DVC can read."""
    try:
        document = parse(text)
    except yaml.YAMLError:
        return False
    if not isinstance(document, dict) or "schema" not in document:
        return False
    stages = document.get("stages") or {}
    return isinstance(stages, dict) and all(_is_entry(entry) for entry in stages.values())


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and "cmd" in entry


def is_sound_state(folder: Path) -> bool:
    """Whether DVC's state databases in a folder, where there are any, can be read."""
    return next(_damaged(folder), None) is None


def remove_damaged_state(folder: Path) -> list[str]:
    """Remove DVC's state databases that cannot be read; they only save time. Returns what to say of each.

    Parameters
    ----------
    folder : Path
        DVC's ``site_cache_dir`` of the repository.
    """
    said = []
    for path in list(_damaged(folder)):
        shutil.rmtree(path.parent, ignore_errors=True)
        said.append(f"{path}: DVC's database of hashes was damaged and is gone; files are hashed anew")
    return said


def _damaged(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.db"):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
                found = database.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError:  # busy, or not ours to read
            continue
        except sqlite3.DatabaseError:
            yield path
        else:
            if found != ("ok",):
                yield path
