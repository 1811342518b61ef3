"""What a function's votes depend on, as a key of the vote cache: its fingerprint, and that of the columns it may read.

A key may change where votes would not; it must not stay where they could. What cannot be told is not cached.
"""

import hashlib
import json
import logging
import platform
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import polars as pl
import snorkel
from snorkel.labeling import LabelingFunction

from labeling.functions.batch import BatchFunction
from labeling.functions.declared import DeclaredFunction
from labeling.functions.logic import LogicFunction
from labeling.functions.stated import labels_of
from labeling.voting.code import Fingerprints, UnknownError
from labeling.voting.reads import columns_read

logger = logging.getLogger(__name__)

HASHED_ROWS = 1 << 18
UNSEEN = ("name", "owner", "examples", "numbers", "_f")
"""Attributes of a batch function that say nothing of its votes."""


def keys_of(
    functions: Sequence[LabelingFunction], table: pl.DataFrame | pl.LazyFrame, labels: Sequence[str]
) -> dict[str, str]:
    """Return the key of each function whose votes can be cached.

    Parameters
    ----------
    functions : sequence of LabelingFunction
        Those that read others' votes have none: to vote takes them no longer than to read.
    table : pl.DataFrame or pl.LazyFrame
        What they may see.
    labels : sequence of str
        The app's: a vote is a number.

    Returns
    -------
    dict of str to str
        64 hexadecimal digits a function's name.
    """
    columns = table.lazy().collect_schema().names()
    fingerprints = Fingerprints()
    known: dict[str, tuple[str, list[str]]] = {}
    for function in functions:
        if isinstance(function, LogicFunction):
            continue
        try:
            known[function.name] = (_of_function(function, fingerprints), columns_of(function, columns))
        except (UnknownError, RecursionError) as reason:
            logger.info("'%s' votes on every run, its votes are not cached: %s", function.name, reason)
    data = fingerprints_of_columns(table, {name for _, reads in known.values() for name in reads})
    stated = {function.name: labels_of(function, labels) for function in functions}
    return {
        name: _digest(json.dumps([_engine(), labels, stated[name], said, [(column, data[column]) for column in reads]]))
        for name, (said, reads) in known.items()
    }


def fingerprints_of_columns(table: pl.DataFrame | pl.LazyFrame, columns: Iterable[str]) -> dict[str, str]:
    """Return a digest a column, of its type and its values in their order."""
    schema = table.lazy().collect_schema()
    wanted = sorted(columns)
    digests = {name: hashlib.blake2b(f"{name} {schema[name]}".encode(), digest_size=32) for name in wanted}
    if wanted:
        hashed = table.lazy().select(pl.col(name).hash(20) for name in wanted)
        whole = isinstance(table, pl.DataFrame)
        parts = [hashed.collect()] if whole else hashed.collect_batches(chunk_size=HASHED_ROWS, maintain_order=True)
        for part in parts:
            for name in wanted:
                digests[name].update(part[name].to_numpy().tobytes())
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _of_function(function: LabelingFunction, fingerprints: Fingerprints) -> str:
    if isinstance(function, DeclaredFunction):
        if function.kind == "expression" and (
            '"AnonymousFunction"' in function.source or '"FfiPlugin"' in function.source
        ):
            raise UnknownError("its expression runs code that Polars does not show")
        return json.dumps([function.kind, function.source, function.backtracks])
    if isinstance(function, BatchFunction):
        held = {name: value for name, value in vars(function).items() if name not in UNSEEN}
        return fingerprints.of((type(function), held))
    return fingerprints.of(function)


def columns_of(function: LabelingFunction, columns: list[str]) -> list[str]:
    """Return the columns that a function's votes may depend on: those it says, or all."""
    if isinstance(function, BatchFunction):
        return sorted(function.reads)
    if not isinstance(function, DeclaredFunction):
        reads = columns_read(function)
        # What it raised is told with the row's name.
        return columns if reads is None else sorted({"row_id", *reads} & set(columns))
    named = sorted(set(function.expression.meta.root_names()))
    # A wildcard or a selector names no column.
    known = named and set(named) <= set(columns) and '"Selector"' not in function.source
    return named if known else columns


@cache
def _engine() -> str:
    """Return a digest of pricecut's own code that votes, and of what it stands on."""
    labeling = Path(__file__).resolve().parents[1]
    files = sorted([*labeling.glob("functions/*.py"), *labeling.glob("voting/*.py"), *labeling.glob("encoder.py")])
    written = [file.read_text(encoding="utf-8") for file in files]
    return _digest(json.dumps([written, pl.__version__, snorkel.__version__, platform.python_version()]))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
