"""Brings one stage up to date: held against other runs, started or joined, followed to its end, and kept."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from flows import attempts
from flows.attempts import Attempt, Tell
from flows.faults import advice, full_disk
from flows.graph import Stage, label_of
from flows.redaction import hide, redact_file
from flows.repository import Busy, Outcome, Repository, Work
from flows.supervise import PROCESS_KILLED, TIMED_OUT
from ledger.errors import PricecutError

TAIL = 20
"""Lines of a stage that are kept for the message, should it fail."""
ASK_EVERY = 0.5
"""Seconds between two questions whether another process of DVC's has let go of a file."""

Answer = TypeVar("Answer")
Place = Callable[[], AbstractContextManager[object]]
Send = Callable[[Stage, Work, Tell], None]

_running: dict[str, Attempt] = {}
_stopping = threading.Event()


class StageError(PricecutError):
    """A stage's process ended with an error, which it has said itself.

    Parameters
    ----------
    stage : str
        Its label.
    code : int
        What its process exited with: 2 where a person can mend it.
    said : str
        The last that it said.
    """

    def __init__(self, stage: str, code: int, said: str) -> None:
        super().__init__(f"{stage}: {said}" if not said.startswith(stage.partition("@")[0]) else said)
        self.exit_code = code


def bring_up_to_date(
    repository: Repository,
    stage: Stage,
    tell: Tell,
    place: Place = contextlib.nullcontext,
    surely: bool = False,
    send: Send | None = None,
) -> Outcome:
    """Run a stage if it has changed, bring its outputs back from the run-cache, or join whoever runs it already.

    Parameters
    ----------
    repository : Repository
        Where.
    stage : Stage
        Which.
    tell : callable
        Takes each line that it says, as it comes.
    place : callable
        Gives the place in a pool that it needs while it runs.
    surely : bool
        It is known to have changed: a place is asked for at once.
    send : callable or None
        Runs it on another machine, and brings what it wrote; None runs it here.

    Raises
    ------
    StageError
        If it failed, with what it said last.
    """
    folder = attempts.folder_of(stage.address)
    with attempts.held(folder, lambda: tell("another run is at this stage: waiting for it")):
        attempt = _left_by_another_run(folder)
        if attempt is None and not surely and not repository.changed([stage.address]):
            return Outcome.UNCHANGED
        with place():
            if send is not None and attempt is None:
                return _begin_and_send(repository, stage, send, tell)
            return _begin_and_follow(repository, stage, attempt, tell)


def _left_by_another_run(folder: Path) -> Attempt | None:
    """Return an attempt that is going on, or has finished and was not kept; end and forget any other."""
    attempt = attempts.find(folder)
    if attempt is None:
        return None
    if attempts.supervisor_of(attempt) is not None or attempts.is_finished(attempt):
        return attempt
    attempts.stop(attempt)  # the supervisor was killed, what it started may live
    attempts.forget(folder)
    return None


def _begin_and_follow(repository: Repository, stage: Stage, left: Attempt | None, tell: Tell) -> Outcome:
    folder = attempts.folder_of(stage.address)
    started: list[tuple[Attempt, subprocess.Popen[bytes]]] = []

    def start(work: Work) -> int:
        _refuse_when_stopping(stage)
        attempt, process = attempts.start(
            folder, work.commands, work.folder, work.environment, work.outputs, work.inputs, stage.contract.timeout
        )
        started.append((attempt, process))
        return process.pid

    def clear() -> None:
        if left is not None:
            tell("what it reads has changed since another run started it: ending that")
            attempts.stop(left)
            attempts.forget(folder)

    known = left.inputs if left else None
    try:
        outcome = _when_free(lambda: repository.begin(stage.address, known, start, clear, tell), stage, tell)
    except BaseException:  # Ctrl-C, between the stage's start and its following
        mine = attempts.find(folder)
        if mine is not None and (left is None or mine.token != left.token):
            attempts.stop(mine)
        raise
    if outcome in (Outcome.UNCHANGED, Outcome.RESTORED):
        attempts.forget(folder)
        return outcome
    if outcome is Outcome.JOINED:
        assert left is not None
        attempt, process, owner = left, None, attempts.supervisor_of(left)
        tell(
            "a run that was ended has left it running: joining it" if owner else "a run that was ended had finished it"
        )
    else:
        (attempt, process), owner = started[0], started[0][1].pid
    code = followed(stage, attempt, process, owner, tell)
    if code:
        repository.release(owner)
        attempts.stop(attempt)
        attempts.forget(folder)
        raise code
    edited = _when_free(lambda: repository.finish(stage.address, owner), stage, tell)
    _tell_edited(edited, tell)
    attempts.forget(folder)
    return outcome


def _begin_and_send(repository: Repository, stage: Stage, send: Send, tell: Tell) -> Outcome:
    sent: list[tuple[Work, subprocess.Popen[bytes]]] = []

    def start(work: Work) -> int:
        _refuse_when_stopping(stage)
        # By it DVC's other processes see that the stage is busy; it ends with this process.
        waits = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()", "pricecut", stage.address]
        busy = subprocess.Popen(waits, stdin=subprocess.PIPE)
        sent.append((work, busy))
        return busy.pid

    outcome = _when_free(lambda: repository.begin(stage.address, None, start, lambda: None), stage, tell)
    if outcome is not Outcome.STARTED:
        return outcome
    work, busy = sent[0]
    try:
        send(stage, work, lambda line: tell(hide(line)))
        edited = _when_free(lambda: repository.finish(stage.address, busy.pid), stage, tell)
    except BaseException:
        repository.release(busy.pid)
        raise
    finally:
        busy.kill()
        busy.wait()
    _tell_edited(edited, tell)
    attempts.forget(attempts.folder_of(stage.address))
    return outcome


def _tell_edited(edited: Iterable[str], tell: Tell) -> None:
    for name in edited:
        tell(f"{name} was edited while the stage ran; what came of it is kept, and the next run does it again")


def followed(
    stage: Stage, attempt: Attempt, process: "subprocess.Popen[bytes] | None", owner: int | None, tell: Tell
) -> StageError | None:
    """Follow an attempt to its end; return what to say if it failed."""
    if owner is None:
        ended = attempts.exit_code(attempt)
        return None if ended == 0 else _failure(stage, ended or 1, [])
    said: deque[str] = deque(maxlen=TAIL)

    def pass_on(line: str) -> None:
        line = hide(line)
        if is_worth_telling(line):
            said.append(line)
            tell(line)

    _running[attempt.token] = attempt
    try:
        if _stopping.is_set():  # between the question above and the start
            attempts.stop(attempt)
        code = attempts.follow(attempt, owner, pass_on)
        if process is not None:
            process.wait()
        redact_file(attempt.folder / "log.txt", hide)
    except BaseException:  # Ctrl-C
        attempts.stop(attempt)
        raise
    finally:
        _running.pop(attempt.token, None)
    return _failure(stage, code, said) if code else None


def _when_free(ask: Callable[[], Answer], stage: Stage, tell: Tell) -> Answer:
    """Ask until no other process of DVC's works on the stage's files."""
    told = False
    while True:
        try:
            return ask()
        except Busy as busy:
            _refuse_when_stopping(stage)
            if not told:
                tell(f"waiting: {busy}")
            told = True
            time.sleep(ASK_EVERY)


def _refuse_when_stopping(stage: Stage) -> None:
    if _stopping.is_set():
        raise StageError(stage.label, 1, "not started: the run was interrupted") from None


NOISE = re.compile(
    r"^(INFO: Created TensorFlow Lite|"
    # TensorFlow's, written before it can be told to be silent.
    r"WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} \d\d:\d\d:)"
)


def is_worth_telling(line: str) -> bool:
    """Whether a line is news to whoever watches: not TensorFlow's search for a GPU."""
    return bool(line.strip()) and not NOISE.match(line.strip())


def _failure(stage: Stage, code: int, said: Iterable[str]) -> StageError:
    """Turn what a failed stage said into one message."""
    lines, label = list(said), label_of(stage.address)
    if hint := advice(lines):
        return StageError(label, 2, "\n".join([*lines[-3:], hint]))
    if code == 2 and lines:
        name = label.partition("@")[0]
        first = next((i for i, line in enumerate(lines) if line.startswith(f"{name} ")), len(lines) - 1)
        return StageError(label, 2, "\n".join(lines[first:]))
    if code == TIMED_OUT and stage.contract.timeout is not None:
        why = f"took longer than {stage.contract.timeout:g} s, its timeout in dvc.yaml, and was ended"
        return StageError(label, code, "\n".join([why, *lines]))
    if hint := full_disk(Path.cwd()):
        return StageError(label, 2, "\n".join([*lines[-3:], hint]))
    if code > PROCESS_KILLED:
        number = code - PROCESS_KILLED
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        hint = "; if nobody did, the machine may have run out of memory" if number == signal.SIGKILL else ""
        return StageError(label, 1, "\n".join([f"was killed ({name}){hint}", *lines]))
    return StageError(label, code, "\n".join(lines[-3:]) or f"exited with {code} and said nothing")


def end_running() -> None:
    """End every stage that this process follows, and all that these have started; start no further one."""
    _stopping.set()
    for attempt in list(_running.values()):
        attempts.stop(attempt)
