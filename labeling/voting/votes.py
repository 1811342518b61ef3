"""What a function voted, and how a row function's answer is read."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from snorkel.labeling import LabelingFunction

from labeling.functions.stated import labels_of
from labeling.functions.vocabulary import ABSTAIN
from ledger.errors import FunctionError

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 10.0


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


def end_to_end(parts: Iterable[Sequence[Votes]], functions: int, height: int) -> list[Votes]:
    """Lay the votes on parts of a table end to end, and tell now and then how far it is.

    Parameters
    ----------
    parts : iterable of sequence of Votes
        In the rows' order; of each the votes of all functions.
    functions : int
        How many they are.
    height : int
        The table's rows.
    """
    columns = np.full((functions, height), ABSTAIN, dtype=np.int8)
    errors, first_errors = [0] * functions, [None] * functions  # type: list[int], list[str | None]
    done, told = 0, time.monotonic()
    for part in parts:
        end = done + len(part[0].column)
        for j, voted in enumerate(part):
            columns[j, done:end] = voted.column
            errors[j] += voted.errors
            first_errors[j] = first_errors[j] or voted.first_error
        done = end
        if time.monotonic() - told > PROGRESS_EVERY_S:
            told = time.monotonic()
            logger.info("row functions: %d of %d rows", done, height)
    return [Votes(columns[j], errors[j], first_errors[j]) for j in range(functions)]


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
