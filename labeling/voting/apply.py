"""Applies labeling functions to a table: each kind by its engine, and from the cache what did not change."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.functions.batch import BatchFunction
from labeling.functions.declared import ROW_SECONDS, DeclaredFunction
from labeling.functions.logic import LogicFunction
from labeling.functions.vocabulary import ABSTAIN
from labeling.partitions import configured_cluster
from labeling.voting.cache import VoteCache
from labeling.voting.cluster import goes_by_partition, vote_on_cluster
from labeling.voting.fingerprint import keys_of
from labeling.voting.plan import is_planned, vote_by_plan
from labeling.voting.reads import columns_read
from labeling.voting.rows import BATCH_ROWS, batches, vote_on_rows
from labeling.voting.votes import Votes, end_to_end, no_such_column
from labeling.voting.workers import packed, usable_cores, vote_in_workers

logger = logging.getLogger(__name__)

HIDDEN_COLUMNS = ("label", "split", "records")
"""Columns of the corpus that no function sees."""

TRIED_ROWS = 256
START_S = 2.5
"""What it takes to start a worker process: Snorkel imports pandas and scikit-learn."""


def label_matrix(functions: Sequence[LabelingFunction], rows: pl.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Return the votes of all functions, int8 of shape (rows, functions); ABSTAIN where one has none."""
    return np.column_stack([voted.column for voted in vote_all(functions, rows, labels)])


def coverage(matrix: np.ndarray) -> float:
    """Share of rows on which at least one function votes."""
    return float((matrix != ABSTAIN).any(axis=1).mean()) if len(matrix) else 0.0


def vote_all(
    functions: Sequence[LabelingFunction],
    rows: pl.DataFrame | pl.LazyFrame,
    labels: Sequence[str],
    *,
    row_seconds: float = ROW_SECONDS,
    cache: VoteCache | None = None,
    processes: int | None = None,
) -> list[Votes]:
    """Apply functions to rows.

    Parameters
    ----------
    functions : sequence of LabelingFunction
        Each bound to the app's labels, or not yet.
    rows : pl.DataFrame or pl.LazyFrame
        A lazy table is streamed: what is held of it are batches, and a byte for each vote.
    labels : sequence of str
        The app's.
    row_seconds : float
        How long a regex that Rust's engine cannot express may take on one row.
    cache : VoteCache or None
        Where the votes of functions and rows that did not change are kept.
    processes : int or None
        How many row functions run in at most; None: as many as there are cores that may be used, where that is worth their start.

    Raises
    ------
    FunctionError
        If a function reads a column that the rows do not have, or returns what is no label.
    PricecutError
        If a worker process ended before its work was done.
    """
    # A function that could read the gold sample's labels would be measured on what it was told.
    table = rows.drop(*HIDDEN_COLUMNS, strict=False)
    lazy = table.lazy()
    height = (
        table.height if isinstance(table, pl.DataFrame) else lazy.select(pl.len()).collect(engine="streaming").item()
    )
    for function in functions:
        if isinstance(function, DeclaredFunction | BatchFunction | LogicFunction):
            function.bind(labels)
    _refuse_missing(functions, lazy.collect_schema().names())

    keys = keys_of(functions, table, labels) if cache else {}
    voted = {name: known for name, key in keys.items() if cache and (known := cache.get(key, height)) is not None}
    kept = len(voted)

    def missing(belongs: Callable[[LabelingFunction], bool]) -> list[Any]:
        return [function for function in functions if function.name not in voted and belongs(function)]

    cluster = configured_cluster()
    if cluster and height > cluster.rows and (sent := missing(goes_by_partition)):
        answered = vote_on_cluster(cluster, sent, table, height, labels, row_seconds)
        voted |= {} if answered is None else _named(sent, answered)
    declared = missing(is_planned)
    voted |= _named(declared, vote_by_plan(declared, lazy, height))
    for function in missing(lambda function: isinstance(function, BatchFunction)):
        voted[function.name] = Votes(function.vote_on(lazy.select(function.reads).collect()))
    coded = missing(lambda function: not isinstance(function, LogicFunction))
    voted |= _named(coded, _vote_by_rows(coded, table, height, labels, row_seconds, processes or usable_cores()))
    if cache:
        patterns = {function.name for function in functions if getattr(function, "backtracks", None)}
        for name, key in keys.items():
            # Whether a row takes too long depends on the machine; whether it raises does not.
            if not (name in patterns and voted[name].errors):
                cache.put(key, voted[name])
        logger.info("%d of %d functions voted; %d were known from before", len(keys) - kept, len(functions), kept)
    for rule in missing(lambda function: isinstance(function, LogicFunction)):
        known_votes = {name: voted[name].column for name in rule.reads_votes if name in voted}
        voted[rule.name] = Votes(rule.vote_on_votes(pl.DataFrame(known_votes)))
    return [voted[function.name] for function in functions]


def _named(functions: Sequence[LabelingFunction], voted: Sequence[Votes]) -> dict[str, Votes]:
    return dict(zip((function.name for function in functions), voted, strict=True))


def _refuse_missing(functions: Sequence[LabelingFunction], columns: Sequence[str]) -> None:
    for function in functions:
        reads = [function.field] if getattr(function, "backtracks", None) else getattr(function, "reads", ())
        absent = [name for name in reads if name not in columns]
        if absent:
            raise no_such_column(function.name, absent[0], columns)


def _vote_by_rows(
    functions: Sequence[LabelingFunction],
    table: pl.DataFrame | pl.LazyFrame,
    height: int,
    labels: Sequence[str],
    row_seconds: float,
    processes: int,
) -> list[Votes]:
    """Vote with row functions: the first rows in this process, the rest in others where that is worth their start."""
    if not functions:
        return []
    table = table.select(_needed(functions, table.lazy().collect_schema()))
    parts = _parts(functions, batches(table, TRIED_ROWS, BATCH_ROWS), height, labels, row_seconds, processes)
    return end_to_end(parts, len(functions), height)


def _needed(functions: Sequence[LabelingFunction], schema: pl.Schema) -> list[str]:
    """Return the columns that functions may read, and the rows' names."""
    needed = {"row_id"}
    for function in functions:
        reads = columns_read(function)
        if reads is None:
            return list(schema)
        needed |= set(reads)
    return [name for name in schema if name in needed] or list(schema)


def _parts(
    functions: Sequence[LabelingFunction],
    rows: Iterator[pl.DataFrame],
    height: int,
    labels: Sequence[str],
    row_seconds: float,
    processes: int,
) -> Iterator[list[Votes]]:
    def here(batch: pl.DataFrame) -> list[Votes]:
        return vote_on_rows(functions, batch, labels, row_seconds)

    began = time.perf_counter()
    tried = 0
    for batch in rows:
        yield here(batch)
        tried += batch.height
        left_s = (time.perf_counter() - began) / tried * (height - tried)
        if processes > 1 and tried <= TRIED_ROWS and left_s * (1 - 1 / processes) > START_S:
            package = packed(functions, labels, row_seconds)
            if package is not None:
                yield from vote_in_workers(package, rows, processes, here)
                return
