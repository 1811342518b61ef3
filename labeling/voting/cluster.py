"""Votes of a large corpus on a Dask cluster: each partition travels once, for declared and row functions together."""

import io
import pickle
import threading
from collections.abc import Sequence
from uuid import uuid4

import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.functions.batch import BatchFunction
from labeling.functions.declared import DeclaredFunction
from labeling.functions.logic import LogicFunction
from labeling.partitions import Cluster, over_cluster
from labeling.voting.fingerprint import columns_of
from labeling.voting.plan import is_planned, vote_by_plan
from labeling.voting.rows import BATCH_ROWS, batches, vote_on_rows
from labeling.voting.votes import Votes, end_to_end
from labeling.voting.workers import packed

BY_ROW = ("keyword", "regex", "column", "knowledge")
"""Kinds whose vote on a row depends on that row alone; an ``expression`` may rank, count or average."""

_held = threading.local()
"""What a worker's thread was sent last: row functions may keep a state, which two threads must not share."""


def goes_by_partition(function: LabelingFunction) -> bool:
    """Whether a function's votes are the same whichever rows stand beside a row: all row functions', and most declared ones'."""
    if isinstance(function, DeclaredFunction):
        return function.kind in BY_ROW
    return not isinstance(function, BatchFunction | LogicFunction)


def vote_on_cluster(
    cluster: Cluster,
    functions: Sequence[LabelingFunction],
    table: pl.DataFrame | pl.LazyFrame,
    height: int,
    labels: Sequence[str],
    row_seconds: float,
) -> list[Votes] | None:
    """Vote with functions that go by partition; None, with a line in the log, where they cannot be sent.

    Parameters
    ----------
    cluster : Cluster
        Whose workers vote.
    functions : sequence of LabelingFunction
        Declared ones, bound to the app's labels, and row functions.
    table : pl.DataFrame or pl.LazyFrame
        What they may see.
    height : int
        Its rows.
    labels : sequence of str
        The app's.
    row_seconds : float
        How long a pattern that Python matches may take on one row.

    Raises
    ------
    FunctionError
        As in one process.
    PricecutError
        If the cluster does not answer, or fails.
    """
    package = packed(functions, labels, row_seconds)
    if package is None:
        return None
    columns = table.lazy().collect_schema().names()
    needed = {"row_id"}.union(*(columns_of(function, columns) for function in functions))
    seen = table.select([name for name in columns if name in needed] or columns)
    partitions = (_written(part) for part in batches(seen, cluster.rows, cluster.rows))
    once = (uuid4().hex, package)
    return end_to_end(over_cluster(cluster, vote_on_partition, once, partitions), len(functions), height)


def vote_on_partition(once: tuple[str, bytes], partition: bytes) -> list[Votes]:
    """Vote on a partition, in a worker; the package is unpacked once a thread and run."""
    functions, labels, row_seconds = _unpacked(*once)
    rows = pl.read_ipc(io.BytesIO(partition))
    planned = [function for function in functions if is_planned(function)]
    coded = [function for function in functions if not is_planned(function)]
    voted = vote_by_plan(planned, rows.lazy(), rows.height)
    if coded:
        parts = (vote_on_rows(coded, batch, labels, row_seconds) for batch in batches(rows, BATCH_ROWS, BATCH_ROWS))
        voted += end_to_end(parts, len(coded), rows.height)
    named = {function.name: votes for function, votes in zip([*planned, *coded], voted, strict=True)}
    return [named[function.name] for function in functions]


def _unpacked(run: str, package: bytes) -> tuple[list[LabelingFunction], tuple[str, ...], float]:
    if getattr(_held, "run", None) != run:
        _held.content, _held.run = pickle.loads(package), run
    return _held.content


def _written(part: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    part.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()
