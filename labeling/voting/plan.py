"""Declared functions as one lazy Polars plan, streamed: a corpus larger than memory works."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.functions.declared import DeclaredFunction
from labeling.voting.votes import Votes, no_such_column
from ledger.errors import FunctionError


def is_planned(function: LabelingFunction) -> bool:
    """Whether a function is part of the plan: declared, and its pattern one of Rust's engine."""
    return isinstance(function, DeclaredFunction) and function.backtracks is None


def vote_by_plan(functions: Sequence[DeclaredFunction], table: pl.LazyFrame, height: int) -> list[Votes]:
    """Vote with declared functions on a table.

    Parameters
    ----------
    functions : sequence of DeclaredFunction
        Each bound to the app's labels.
    table : pl.LazyFrame
        What they may see. Only the columns that they read are read, a few thousand rows at a time.
    height : int
        Its rows.

    Raises
    ------
    FunctionError
        If a function reads a column that the table does not have, or Polars cannot do what it says.
    """
    if not functions:
        return []
    plan = table.select(function.numbered().alias(str(j)) for j, function in enumerate(functions))
    try:
        voted = plan.collect(engine="streaming")
    except pl.exceptions.ColumnNotFoundError:
        columns = table.collect_schema().names()
        missing = {f.name: sorted(set(f.expression.meta.root_names()) - set(columns)) for f in functions}
        name, absent = next(((name, absent) for name, absent in missing.items() if absent), (functions[0].name, ["?"]))
        raise no_such_column(name, absent[0], columns) from None
    except pl.exceptions.PolarsError as error:
        failing = _first_failing(functions, table)
        raise FunctionError(f"function '{failing}': {' '.join(str(error).split())}", failing) from None
    # A constant expression gives one row, whatever the table's height.
    return [Votes(np.broadcast_to(column.to_numpy(), height).astype(np.int8, copy=False)) for column in voted]


def _first_failing(functions: Sequence[DeclaredFunction], table: pl.LazyFrame) -> str:
    for function in functions:
        try:
            table.select(function.expression).collect(engine="streaming")
        except pl.exceptions.PolarsError:
            return function.name
    return functions[0].name
