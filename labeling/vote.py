"""`vote`: every labeling function votes on every row of the corpus; the label matrix comes out."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field
from snorkel.labeling import LabelingFunction

from labeling.corpus import read_corpus
from labeling.embeddings import read_known_texts
from labeling.functions import (
    ABSTAIN,
    FUNCTIONS_FILE,
    BatchFunction,
    DeclaredFunction,
    LogicFunction,
    NearestFunction,
    labels_of,
    lend,
    line_of_function,
    load_functions,
)
from labeling.gate import hold_to_agreed
from ledger.errors import FunctionError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 10.0

HIDDEN_COLUMNS = ("label", "split", "records")
"""Columns of the corpus that no function sees."""


class VoteParameters(Parameters):
    """Section ``vote`` of ``params.yaml``."""

    error_share: Annotated[float, Field(ge=0, le=1)]
    gate_votes: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Votes:
    """What one function voted.

    Attributes
    ----------
    column : np.ndarray
        int8 of shape (rows,); ABSTAIN where it has nothing to say or raised.
    errors : int
        On how many rows it raised.
    first_error : str or None
        The first row and exception.
    """

    column: np.ndarray
    errors: int = 0
    first_error: str | None = None


class Row(SimpleNamespace):
    """A row as Snorkel's functions read it: ``x.text`` or ``x["text"]``."""

    def __getitem__(self, name: str) -> Any:
        """Return a column's value."""
        return getattr(self, name)


def main(places: Places, usage: Usage) -> None:
    """Vote on the app's corpus."""
    parameters = read_parameters("vote", VoteParameters)
    labels, rows = read_corpus(places.corpus)
    functions = load_functions(places.app_folder, labels)
    by_meaning = [function for function in functions if isinstance(function, NearestFunction)]
    if by_meaning:
        lend(by_meaning, read_known_texts(places.embeddings, rows))

    path = places.app_folder / FUNCTIONS_FILE
    try:
        votes = vote_all(functions, rows, labels)
    except FunctionError as error:
        if error.function is None:
            raise
        raise FunctionError(f"{path}:{line_of_function(path, error.function)}: {error}") from None
    for function, voted in zip(functions, votes, strict=True):
        if voted.errors > parameters.error_share * rows.height:
            raise FunctionError(
                f"{path}:{line_of_function(path, function.name)}: function '{function.name}' raised on {voted.errors} of "
                f"{rows.height} rows, more than vote.error_share ({parameters.error_share:g}) allows; first: {voted.first_error}"
            )
        if voted.errors:
            logger.warning(
                "'%s' abstains on %d rows where it raised; first: %s", function.name, voted.errors, voted.first_error
            )
    matrix = np.column_stack([voted.column for voted in votes])
    logger.info("%d functions on %d rows; %.1f %% covered", len(functions), rows.height, 100 * coverage(matrix))

    hold_to_agreed(places, [function.name for function in functions], matrix, rows, labels, parameters.gate_votes)
    described = [describe(function, labels) for function in functions]
    table = rows.select("row_id").with_columns(
        pl.Series(function.name, voted.column, dtype=pl.Int8) for function, voted in zip(functions, votes, strict=True)
    )
    table.write_parquet(places.votes, metadata={"labels": json.dumps(labels), "functions": json.dumps(described)})
    report = [
        described[j] | {"votes": int((v.column != ABSTAIN).sum()), "errors": v.errors, "first_error": v.first_error}
        for j, v in enumerate(votes)
    ]
    places.vote_report.parent.mkdir(parents=True, exist_ok=True)
    places.vote_report.write_text(
        json.dumps({"rows": rows.height, "functions": report}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    usage.figures.update(rows=rows.height, functions=len(functions))


def label_matrix(functions: Sequence[LabelingFunction], rows: pl.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Return the votes of all functions, int8 of shape (rows, functions); ABSTAIN where one has none."""
    return np.column_stack([voted.column for voted in vote_all(functions, rows, labels)])


def coverage(matrix: np.ndarray) -> float:
    """Share of rows on which at least one function votes."""
    return float((matrix != ABSTAIN).any(axis=1).mean()) if len(matrix) else 0.0


def vote_all(functions: Sequence[LabelingFunction], rows: pl.DataFrame, labels: Sequence[str]) -> list[Votes]:
    """Apply functions to rows: the declared ones as one Polars plan, the coded ones row by row.

    Raises
    ------
    FunctionError
        If a function reads a column that the rows do not have, or returns what is no label.
    """
    # A function that could read the gold sample's labels would be measured on what it was told.
    rows = rows.drop(*HIDDEN_COLUMNS, strict=False)
    declared = [function for function in functions if isinstance(function, DeclaredFunction)]
    columns = dict(zip([f.name for f in declared], _vote_declared(declared, rows, labels), strict=True))
    for function in functions:
        if isinstance(function, BatchFunction):
            columns[function.name] = _vote_batch(function, rows, labels)
    rules = [function for function in functions if isinstance(function, LogicFunction)]
    coded = [function for function in functions if function.name not in columns and function not in rules]
    columns |= dict(zip([f.name for f in coded], _vote_coded(coded, rows, labels), strict=True))
    for rule in rules:
        known = [name for name in rule.reads_votes if name in columns]
        votes = pl.DataFrame([pl.Series(name, columns[name].column, dtype=pl.Int8) for name in known])
        columns[rule.name] = Votes(rule.bind(labels).vote_on_votes(votes))
    return [columns[function.name] for function in functions]


def _vote_declared(functions: Sequence[DeclaredFunction], rows: pl.DataFrame, labels: Sequence[str]) -> list[Votes]:
    if not functions:
        return []
    numbers = {label: number for number, label in enumerate(labels)}
    plan = [
        f.bind(labels).expression.replace_strict(numbers, default=ABSTAIN, return_dtype=pl.Int8).alias(f.name)
        for f in functions
    ]
    try:
        table = rows.lazy().select(plan).collect()
    except pl.exceptions.ColumnNotFoundError:
        missing = {f.name: sorted(set(f.expression.meta.root_names()) - set(rows.columns)) for f in functions}
        name, absent = next((name, absent) for name, absent in missing.items() if absent)
        raise FunctionError(
            f"function '{name}': reads the column '{absent[0]}', which no source maps; the rows have: {', '.join(rows.columns)}",
            name,
        ) from None
    except pl.exceptions.PolarsError as error:
        failing = _first_failing(functions, rows)
        raise FunctionError(f"function '{failing}': {' '.join(str(error).split())}", failing) from None
    # A constant expression gives one row, whatever the table's height.
    return [Votes(np.broadcast_to(table[f.name].to_numpy(), rows.height).astype(np.int8)) for f in functions]


def _vote_batch(function: BatchFunction, rows: pl.DataFrame, labels: Sequence[str]) -> Votes:
    missing = [name for name in function.reads if name not in rows.columns]
    if missing:
        raise FunctionError(
            f"function '{function.name}': reads the column '{missing[0]}'; the rows have: {', '.join(rows.columns)}",
            function.name,
        )
    return Votes(function.bind(labels).vote_on(rows))


def _first_failing(functions: Sequence[DeclaredFunction], rows: pl.DataFrame) -> str:
    for function in functions:
        try:
            rows.select(function.expression)
        except pl.exceptions.PolarsError:
            return function.name
    return functions[0].name


def _vote_coded(functions: Sequence[LabelingFunction], rows: pl.DataFrame, labels: Sequence[str]) -> list[Votes]:
    matrix = np.full((rows.height, len(functions)), ABSTAIN, dtype=np.int8)
    errors: list[list[str]] = [[] for _ in functions]
    told = time.monotonic()
    for i, record in enumerate(rows.iter_rows(named=True) if functions else ()):
        for j, function in enumerate(functions):
            try:
                # A row of its own for each: a function that writes to its row must not change another's vote.
                vote = function(Row(**record))
            except Exception as error:  # any fault of a data team's code: it abstains here, and is counted
                errors[j].append(f"row '{record['row_id']}': {type(error).__name__}: {error}")
                continue
            matrix[i, j] = as_number(vote, function, record, labels)
        if time.monotonic() - told > PROGRESS_EVERY_S:
            told = time.monotonic()
            logger.info("row functions: %d of %d rows", i + 1, rows.height)
    return [Votes(matrix[:, j], len(errors[j]), errors[j][0] if errors[j] else None) for j in range(len(functions))]


def as_number(vote: object, function: LabelingFunction, record: Mapping[str, Any], labels: Sequence[str]) -> int:
    """Read a row function's vote: a label's number, its name, -1 or None; anything else is a FunctionError."""
    if vote is None:
        return ABSTAIN
    if isinstance(vote, str) and vote in labels:
        return labels.index(vote)
    if isinstance(vote, int | np.integer) and not isinstance(vote, bool) and ABSTAIN <= vote < len(labels):
        return int(vote)
    numbered = ", ".join(f"{number} ({label})" for number, label in enumerate(labels))
    raise FunctionError(
        f"function '{function.name}' returned {vote!r} on row '{record['row_id']}'; expected {numbered}, a label's name, "
        "or -1 to abstain",
        function.name,
    )


def describe(function: LabelingFunction, labels: Sequence[str]) -> dict[str, Any]:
    """Describe a function for the reports: name, kind and the labels it may vote for."""
    declared = isinstance(function, DeclaredFunction | BatchFunction | LogicFunction)
    kind = function.kind if declared else "row"
    return {"name": function.name, "kind": kind, "labels": list(labels_of(function, labels))}


if __name__ == "__main__":
    run_stage("vote", main)
