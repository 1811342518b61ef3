"""What a labeling function gets wrong: on gold rows, or, without them, where the label model believes it least."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from labeling.functions.vocabulary import ABSTAIN
from labeling.gate import votes_on_gold
from labeling.intervals import wilson_interval


@dataclass(frozen=True)
class Mistake:
    """A row on which a function is wrong, or is thought to be.

    Attributes
    ----------
    row_id, text : str
        The row.
    vote : str
        The label it voted for.
    expected : str
        The gold label, or the label model's likeliest.
    belief : float or None
        The label model's probability of the vote, rounded to 4 digits; None on gold.
    """

    row_id: str
    text: str
    vote: str
    expected: str
    belief: float | None

    def as_json(self) -> dict[str, Any]:
        """Return it as a mapping."""
        return asdict(self)


def mistakes_on_gold(column: np.ndarray, rows: pl.DataFrame, labels: Sequence[str]) -> list[Mistake]:
    """List the gold rows on which a function's vote is wrong, in order of the corpus.

    Parameters
    ----------
    column : np.ndarray
        int8 of shape (rows,): its votes.
    rows : pl.DataFrame
        The corpus, which holds no test row: ``row_id``, ``text``, ``split``, ``label``.
    labels : sequence of str
        The app's.
    """
    truth = rows["label"].to_numpy()
    votes, right = votes_on_gold(column, rows)
    ids, texts = rows["row_id"], rows["text"]
    return [
        Mistake(ids[i], texts[i], labels[column[i]], labels[truth[i]], None)
        for i in map(int, np.flatnonzero(votes & ~right))
    ]


def disbelieved(
    column: np.ndarray, probabilities: np.ndarray, rows: pl.DataFrame, labels: Sequence[str]
) -> list[Mistake]:
    """List the train rows on which the label model thinks another label likelier, the least believed vote first.

    Parameters
    ----------
    column : np.ndarray
        int8 of shape (rows,): the function's votes.
    probabilities : np.ndarray
        float of shape (rows, classes): the label model's.
    rows : pl.DataFrame
        The corpus.
    labels : sequence of str
        The app's.
    """
    likeliest = probabilities.argmax(axis=1)
    doubted = np.flatnonzero((rows["split"] == "train").to_numpy() & (column != ABSTAIN) & (column != likeliest))
    belief = probabilities[doubted, column[doubted]]
    ids, texts = rows["row_id"], rows["text"]
    order = np.argsort(belief, kind="stable")
    return [
        Mistake(ids[i], texts[i], labels[column[i]], labels[likeliest[i]], round(share, 4))
        for i, share in zip(doubted[order].tolist(), belief[order].tolist(), strict=True)
    ]


def with_interval(function: Mapping[str, Any]) -> dict[str, Any]:
    """Add ``interval_gold``, the 95 % interval of a function's accuracy on gold, to its entry of the functions' report."""
    votes = int(function["gold_votes"])
    right = round(votes * (function["accuracy_gold"] or 0.0))
    interval = wilson_interval(right, votes)
    return dict(function) | {"interval_gold": None if interval is None else list(interval)}
