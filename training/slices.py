"""How good a classifier's answers are on parts of the rows: by label, by length, by source."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_ROWS = 10
"""A slice of fewer rows is shown, but holds no gate: one answer moves it by a tenth."""
LENGTHS = ((5, "1-5 words"), (15, "6-15 words"), (40, "16-40 words"))
LONGEST = "over 40 words"


@dataclass(frozen=True)
class Slice:
    """Some of the rows.

    Attributes
    ----------
    by, name : str
        ``label``, ``length`` or ``source``, and which one.
    rows : int
        How many.
    accuracy : float
        The share answered right.
    """

    by: str
    name: str
    rows: int
    accuracy: float


def length_of(text: str) -> str:
    """Return the name of the slice that a text belongs to by its length."""
    words = len(text.split())
    return next((name for most, name in LENGTHS if words <= most), LONGEST)


def slices(
    texts: Sequence[str],
    truth: np.ndarray,
    predicted: np.ndarray,
    labels: Sequence[str],
    sources: Sequence[Sequence[str]] | None = None,
) -> list[Slice]:
    """Score every slice that has a row.

    Parameters
    ----------
    texts : sequence of str
        The rows.
    truth, predicted : np.ndarray
        Their labels and the answers, of shape ``(rows,)``.
    labels : sequence of str
        The names of the classes.
    sources : sequence of sequences of str, optional
        Where each row comes from; a row of two sources counts in both.
    """
    right = truth == predicted
    found: list[Slice] = []

    def add(by: str, name: str, rows: np.ndarray) -> None:
        if rows.any():
            found.append(Slice(by, name, int(rows.sum()), float(right[rows].mean())))

    for number, label in enumerate(labels):
        add("label", label, truth == number)
    lengths = np.array([length_of(text) for text in texts], dtype=object)
    for name in (*(name for _, name in LENGTHS), LONGEST):
        add("length", name, lengths == name)
    for source in sorted({source for row in sources or () for source in row}):
        add("source", source, np.array([source in row for row in sources or ()]))
    return found


def worst(found: Sequence[Slice]) -> Slice | None:
    """Return the slice with the least accuracy among those of at least ten rows; None where none is so large."""
    return min((s for s in found if s.rows >= LEAST_ROWS), key=lambda s: (s.accuracy, s.by, s.name), default=None)
