"""What a function voted, and how a row function's answer is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from snorkel.labeling import LabelingFunction

from labeling.functions.stated import labels_of
from labeling.functions.vocabulary import ABSTAIN
from ledger.errors import FunctionError


@dataclass(frozen=True)
class Votes:
    """What one function voted.

    Attributes
    ----------
    column : np.ndarray
        int8 of shape (rows,); ABSTAIN where it has nothing to say or raised.
    errors : int
        On how many rows it raised, or took too long.
    first_error : str or None
        The first row, in the rows' order, and the exception.
    """

    column: np.ndarray
    errors: int = 0
    first_error: str | None = None


def no_such_column(name: str, column: str, columns: Sequence[str]) -> FunctionError:
    """Return what is said of a function that reads a column which the rows do not have."""
    return FunctionError(
        f"function '{name}': reads the column '{column}', which no source maps; the rows have: {', '.join(columns)}",
        name,
    )


def as_number(vote: object, function: LabelingFunction, row_id: object, labels: Sequence[str]) -> int:
    """Read a row function's vote: a label's number, its name, -1 or None.

    Raises
    ------
    FunctionError
        If it is none of these, or a label that the function does not state.
    """
    if vote is None:
        return ABSTAIN
    number: int | None = None
    if isinstance(vote, str) and vote in labels:
        number = labels.index(vote)
    elif isinstance(vote, int | np.integer) and not isinstance(vote, bool) and ABSTAIN <= vote < len(labels):
        number = int(vote)
    stated = labels_of(function, labels)
    if number is not None and (number == ABSTAIN or labels[number] in stated):
        return number
    numbered = ", ".join(f"{labels.index(label)} ({label})" for label in stated if label in labels)
    only = "" if number is None else ", the labels it states"
    raise FunctionError(
        f"function '{function.name}' returned {vote!r} on row '{row_id}'; expected {numbered}{only}, a label's name, "
        "or -1 to abstain",
        function.name,
    )
