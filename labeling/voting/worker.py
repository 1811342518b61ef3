"""A worker process: gets the row functions once, then batch after batch of rows. Started by ``labeling.voting.workers``."""

import gc
import io
import pickle
import signal
import sys
from multiprocessing.connection import Connection

import polars as pl

from labeling.voting.rows import vote_on_rows

READY = "ready"


def main(descriptor: int) -> None:
    """Vote on the batches that come over a pipe, until it closes."""
    # Ctrl-C reaches the whole process group; the stage says what it has to say, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(descriptor)
    functions, labels, row_seconds = pickle.loads(connection.recv_bytes())
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
    main(int(sys.argv[1]))
