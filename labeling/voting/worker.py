"""The workers: each gets the row functions once, then batch after batch of rows. Started by ``labeling.voting.workers``."""

import ctypes
import gc
import io
import os
import pickle
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NoReturn

import polars as pl

from labeling.voting.rows import vote_on_rows

READY = "ready"
PR_SET_PDEATHSIG = 1


def main(descriptors: list[int]) -> None:
    """Fork a worker for each pipe, wait for them, and end as the first that fails ends."""
    # Ctrl-C is for the stage, which says what it has to say and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    for descriptor in descriptors:
        if os.fork() == 0:
            # A pipe closes, for whoever waits on it, when nobody holds its other end any more.
            for other in descriptors:
                if other != descriptor:
                    os.close(other)
            _end_with_parent()
            _work(descriptor)
    for descriptor in descriptors:
        os.close(descriptor)
    for _ in descriptors:
        code = os.waitstatus_to_exitcode(os.wait()[1])
        if code < 0:
            if -code != signal.SIGKILL:
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        if code:
            sys.exit(code)


def _end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (Linux; elsewhere it ends when its pipe closes)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _work(descriptor: int) -> NoReturn:
    code = 1
    try:
        vote(Connection(descriptor))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        # A fork must not run on into its parent's code; the stage reads the exit code, and the trace is on standard error.
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def vote(connection: Connection) -> None:
    """Vote on the batches that come over a pipe, until it closes."""
    try:
        functions, labels, row_seconds = pickle.loads(connection.recv_bytes())
    except EOFError:
        return
    gc.freeze()
    connection.send(READY)
    while True:
        try:
            batch = connection.recv_bytes()
        except EOFError:
            return
        try:
            answer: object = vote_on_rows(functions, pl.read_ipc(io.BytesIO(batch)), labels, row_seconds)
        except Exception as error:
            answer = error
        connection.send(answer)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
