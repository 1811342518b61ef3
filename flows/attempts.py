"""Attempts at stages: processes that outlive the run that started them, and what they leave behind.

A stage's command runs under a supervisor (`flows.supervise`) in a session of its own and writes to a file, not to a pipe: when the
run dies, the stage goes on. The next run reads the attempt's folder and joins it, takes its finished outputs, or clears it away.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from flows import supervise

FOLDER = Path(".pricecut/attempts")
TOKEN = "PRICECUT_ATTEMPT"
"""The environment variable by which every process of an attempt is known, whatever session it moved to."""
LOOK_EVERY = 0.2
"""Seconds between two looks at what a stage says; its end is noticed at once."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Attempt:
    """An attempt at a stage.

    Attributes
    ----------
    folder : Path
        Where its files stand.
    token : str
        What its processes carry in their environment.
    inputs : dict
        Command, dependencies and parameters as dvc.lock would hold them, as they were when it started.
    outputs : list of str
        Absolute paths.
    """

    folder: Path
    token: str
    inputs: dict[str, Any]
    outputs: list[str]


def folder_of(address: str, root: Path = Path()) -> Path:
    """Return where attempts at a stage stand."""
    readable = re.sub(r"[^\w@.-]+", "_", address)[:80]
    return root / FOLDER / f"{readable}-{hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()[:6]}"


@contextlib.contextmanager
def held(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a stage against every other run of this machine; whoever dies lets go of it.

    Parameters
    ----------
    folder : Path
        As `folder_of` returns it.
    waiting : callable
        Called once, where another run holds the stage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def start(
    folder: Path,
    commands: Sequence[Sequence[str]],
    working_folder: str,
    environment: Mapping[str, str],
    outputs: Sequence[str],
    inputs: dict[str, Any],
    timeout: float | None = None,
) -> tuple[Attempt, "subprocess.Popen[bytes]"]:
    """Start the commands of a stage under a supervisor.

    Parameters
    ----------
    folder : Path
        The stage's, which the caller holds.
    commands : sequence of sequence of str
        Run one after the other, until one fails.
    working_folder : str
        Where they run.
    environment : mapping of str to str
        Theirs.
    outputs : sequence of str
        Absolute paths of what they write.
    inputs : dict
        As of `Attempt`.
    timeout : float or None
        Seconds for each command.
    """
    forget(folder)
    attempt = Attempt(folder, secrets.token_hex(8), inputs, list(outputs))
    document = {
        "token": attempt.token,
        "commands": [list(command) for command in commands],
        "folder": working_folder,
        "outputs": attempt.outputs,
        "inputs": inputs,
        "timeout": timeout,
    }
    temporary = folder / "attempt.json.tmp"
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(folder / "attempt.json")
    handle = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", supervise.__file__, str(folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env={**environment, "PYTHONUNBUFFERED": "1", TOKEN: attempt.token},
            start_new_session=True,
        )
    finally:
        os.close(handle)
    return attempt, process


def find(folder: Path) -> Attempt | None:
    """Return the attempt whose files stand in a folder, or None."""
    try:
        document = json.loads((folder / "attempt.json").read_text(encoding="utf-8"))
        return Attempt(folder, document["token"], document["inputs"], document["outputs"])
    except (FileNotFoundError, ValueError, KeyError):  # the machine went down while it was written
        return None


def processes_of(attempt: Attempt) -> list[psutil.Process]:
    """Return every living process of an attempt, its supervisor first."""
    mark = f"{TOKEN}={attempt.token}".encode()
    found = []
    for pid in psutil.pids():
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(psutil.Process(pid))
        except (OSError, psutil.NoSuchProcess):
            continue
    return sorted(found, key=lambda process: not _is_supervisor(process))


def supervisor_of(attempt: Attempt) -> int | None:
    """Return the process id of an attempt's living supervisor, or None."""
    first = next(iter(processes_of(attempt)), None)
    return first.pid if first is not None and _is_supervisor(first) else None


def _is_supervisor(process: psutil.Process) -> bool:
    try:
        return any(part.endswith(Path(supervise.__file__).name) for part in process.cmdline())
    except psutil.Error:
        return False


def follow(attempt: Attempt, pid: int, tell: Tell) -> int:
    """Pass on what a stage says, line by line, until its supervisor has ended, and return its exit code.

    Parameters
    ----------
    attempt : Attempt
        Whose.
    pid : int
        Its supervisor's.
    tell : callable
        Takes each line as it comes.

    Returns
    -------
    int
        The command's; `supervise.TIMED_OUT`, or 128 and the signal's number where it, or its supervisor, was killed.
    """
    rest = b""
    with (attempt.folder / "log.txt").open("rb") as log, _watch(pid) as ended:
        over = False
        while not over:
            over = ended(LOOK_EVERY)
            rest = _tell_lines(rest + log.read(), tell)
    if rest:
        tell(rest.decode("utf-8", "replace"))
    code = exit_code(attempt)
    return supervise.PROCESS_KILLED + signal.SIGKILL if code is None else code


def _tell_lines(text: bytes, tell: Tell) -> bytes:
    *lines, rest = re.split(rb"\r\n|\n|\r", text)
    for line in lines:
        tell(line.decode("utf-8", "replace").rstrip())
    return rest


@contextlib.contextmanager
def _watch(pid: int) -> Iterator[Callable[[float], bool]]:
    """Give a function that waits some seconds for a process' end, child or not, and says whether it has come."""
    try:
        handle = os.pidfd_open(pid)
    except (OSError, AttributeError):
        yield lambda seconds: _has_gone(pid, seconds)
        return
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        yield lambda seconds: bool(poll.poll(seconds * 1000))
    finally:
        os.close(handle)


def _has_gone(pid: int, seconds: float) -> bool:
    time.sleep(seconds)
    return not psutil.pid_exists(pid)


def exit_code(attempt: Attempt) -> int | None:
    """Return what an attempt ended with, or None where nobody saw its end."""
    ended = _ended(attempt)
    if ended is None:
        return 0 if _exited_untouched(attempt) else None
    return int(ended["code"])


def is_finished(attempt: Attempt) -> bool:
    """Whether an attempt ended well, and its outputs are as it left them."""
    ended = _ended(attempt)
    if ended is None:
        return _exited_untouched(attempt)
    return ended["code"] == 0 and ended["outputs"] == supervise.signatures(attempt.outputs)


def _exited_untouched(attempt: Attempt) -> bool:
    """Whether the commands ended with 0, the supervisor was killed before it could say more, and nobody has touched the outputs since."""
    try:
        start, at = (attempt.folder / "exited").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return False
    if start != supervise.machine_start():
        return False  # the machine went down: what was not on the disk yet is gone
    try:
        stats = [Path(str(entry[0])).stat() for entry in supervise.signatures(attempt.outputs)]
    except FileNotFoundError:
        return False
    return all(max(stat.st_mtime_ns, stat.st_ctime_ns) <= int(at) for stat in stats)


def _ended(attempt: Attempt) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads((attempt.folder / "ended.json").read_text(encoding="utf-8"))
        return document
    except (FileNotFoundError, ValueError):
        return None


def stop(attempt: Attempt, seconds: float = 10.0) -> None:
    """End every process of an attempt: its supervisor ends the command in order; what is left is killed."""
    living = processes_of(attempt)
    for process in living[:1] if living and _is_supervisor(living[0]) else living:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(living, timeout=seconds)
    while left:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=seconds)
        left = [process for process in processes_of(attempt) if process.status() != psutil.STATUS_ZOMBIE]


def forget(folder: Path) -> None:
    """Clear away what an attempt left, but the lock."""
    for name in ("attempt.json", "attempt.json.tmp", "ended.json", "ended.json.tmp", "exited", "log.txt"):
        (folder / name).unlink(missing_ok=True)


def all_folders(root: Path = Path()) -> list[Path]:
    """Return the folders of every stage that was ever attempted here."""
    return sorted(path for path in (root / FOLDER).glob("*") if path.is_dir())
