"""Row functions in worker processes, with the rows' order, errors and refusals of a run in one process.

A fork of this process, in which Polars, TensorFlow or torch run threads, might never wake up. So one fresh interpreter is started,
which imports what workers need and does nothing else, and the workers are forks of that: the imports, half of a worker's cost, are
paid once. Each worker gets the functions and their resources once, by value, and then batches of rows.
"""

import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.voting import worker
from labeling.voting.votes import Votes
from ledger.errors import PricecutError

logger = logging.getLogger(__name__)

ONE_THREAD = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Worker = tuple[subprocess.Popen[bytes], Connection]
"""The process that forked it (and ends as it ends), and the pipe to it."""

ENDS_WITHIN_S = 1.0


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, its container's quota and POLARS_MAX_THREADS count."""
    return pl.thread_pool_size()


def packed(functions: Sequence[LabelingFunction], labels: Sequence[str], row_seconds: float) -> bytes | None:
    """Pack functions for the workers, by value; None, with a line in the log, where something they hold cannot be packed."""
    modules = {_module_of(function) for function in functions} - {None}
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps((list(functions), tuple(labels), row_seconds))
    except Exception as error:  # whatever an object's own pickling raises
        logger.info("row functions run in this process alone: what they hold cannot be sent to others (%s)", error)
        return None
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def vote_in_workers(
    package: bytes, batches: Iterator[pl.DataFrame], count: int, meanwhile: Callable[[pl.DataFrame], list[Votes]] | None
) -> Iterator[list[Votes]]:
    """Vote on batches in worker processes; yields each batch's votes in the batches' order.

    Parameters
    ----------
    package : bytes
        What ``packed`` returned.
    batches : iterator of pl.DataFrame
        The rows. Only what the workers are busy with is held.
    count : int
        How many workers.
    meanwhile : callable or None
        Votes on a batch in this process, which does so until the first worker has started; None lets it wait.

    Raises
    ------
    FunctionError
        Of the first batch in which a function returned what is no label, as in one process.
    PricecutError
        If a worker ended before its work was done.
    """
    workers = _start(count)
    finished = False
    try:
        for _, connection in workers:
            _send(connection, package, workers)
        starting = {connection for _, connection in workers}
        idle: list[Connection] = []
        busy: dict[Connection, int] = {}
        done: dict[int, list[Votes] | Exception] = {}
        numbered = enumerate(batches)
        told, more = 0, True
        while more or busy or done:
            here = meanwhile is not None and len(starting) == count
            for connection in _answered([*starting, *busy], now=more and (here or bool(idle))):
                answer = _receive(connection, workers)
                if connection in starting:
                    starting.discard(connection)
                else:
                    done[busy.pop(connection)] = answer
                idle.append(connection)
            while more and (idle or here):
                number, batch = next(numbered, (0, None))
                if batch is None:
                    more = False
                elif idle or meanwhile is None:
                    busy[idle[-1]] = number
                    _send(idle.pop(), _written(batch), workers)
                else:
                    done[number] = _tried(meanwhile, batch)
                    break
            while told in done:
                voted = done.pop(told)
                if isinstance(voted, Exception):
                    raise voted
                yield voted
                told += 1
        finished = True
    finally:
        _end(workers, finished)


def _tried(meanwhile: Callable[[pl.DataFrame], list[Votes]], batch: pl.DataFrame) -> list[Votes] | Exception:
    try:
        return meanwhile(batch)
    except Exception as error:  # raised in its turn
        return error


def _answered(connections: Sequence[Connection], now: bool) -> list[Connection]:
    """Return the connections on which something has come; wait for the first, unless there is work here now."""
    return [ready for ready in wait(connections, timeout=0 if now else None) if isinstance(ready, Connection)]


def _receive(connection: Connection, workers: Sequence[Worker]) -> Any:
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError):
        raise _ended(connection, workers) from None


def _start(count: int) -> list[Worker]:
    pipes = [Pipe() for _ in range(count)]
    descriptors = [there.fileno() for _, there in pipes]
    process = subprocess.Popen(
        [sys.executable, "-m", worker.__name__, *map(str, descriptors)],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
        env={
            **os.environ,
            **dict.fromkeys(ONE_THREAD, "1"),
            "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path),
        },
    )
    for _, there in pipes:
        there.close()
    return [(process, here) for here, _ in pipes]


def _end(workers: Sequence[Worker], finished: bool) -> None:
    """Close the pipes, at which idle workers end, and kill what does not end, or is not to be waited for."""
    process = workers[0][0]
    for _, connection in workers:
        connection.close()
    if finished:
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_WITHIN_S)
    process.kill()  # its forks end with it
    process.wait()


def _has_descriptor(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
    return True


def _send(connection: Connection, message: bytes, workers: Sequence[Worker]) -> None:
    try:
        connection.send_bytes(message)
    except (BrokenPipeError, ConnectionResetError):
        raise _ended(connection, workers) from None


def _written(batch: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    batch.write_ipc(buffer)
    return buffer.getvalue()


def _ended(connection: Connection, workers: Sequence[Worker]) -> PricecutError:
    process = next(process for process, its in workers if its is connection)
    code = process.wait()
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended (exit code {code})"
    return PricecutError(
        f"a worker process that ran row functions {how}: memory ran out, or a function ended the process; "
        "POLARS_MAX_THREADS=1 runs them in one process"
    )


def _module_of(function: LabelingFunction) -> ModuleType | None:
    """Return the module that a function's code stands in, where that is not an installed one."""
    module = sys.modules.get(getattr(getattr(function, "_f", None), "__module__", None) or "")
    path = getattr(module, "__file__", None) or ""
    own = module is not None and (module.__name__.split(".")[0] != "labeling" or "/apps/" in path)
    return module if own and path and "site-packages" not in path else None
