"""Why a row has its label: which function voted what on it, and what each vote weighed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from labeling.corpus import read_corpus
from labeling.functions.vocabulary import ABSTAIN
from labeling.label_models import LabelModel, read_label_model
from labeling.label_models.model import SHARES
from labeling.tables import read_table
from ledger.errors import DataError
from ledger.places import Places

FLOOR = 1e-12
"""Least probability in a ratio."""


@dataclass(frozen=True)
class Weighed:
    """A vote and what it weighs.

    Attributes
    ----------
    function, vote : str
        Who voted what.
    weight : float
        How far the vote moves the log odds (natural) of the likeliest label against the next: those with it, less those without. Where
        the label model takes votes for independent, that is its log-likelihood ratio. Of a majority: 1 for the likeliest label, -1 for
        the next, 0 for another.
    without : float
        The likeliest label's probability, were the vote not there.
    """

    function: str
    vote: str
    weight: float
    without: float


@dataclass(frozen=True)
class Why:
    """A row's label and what it rests on.

    Attributes
    ----------
    row_id, text, split : str
        The row.
    gold : str or None
        Its gold label, of a gold row.
    label_model : str
        The kind.
    label, next_label : str
        The two likeliest, by the votes alone.
    prior, total : float
        Log odds of the two without a vote, and with all; of a majority 0, and the votes that the likeliest is ahead by.
    votes : tuple of Weighed
        The heaviest first. Prior and weights add up to the total where the label model takes votes for independent, and for a majority.
    silent : int
        How many functions abstain.
    probabilities : dict of str to float
        As `label` wrote them.
    """

    row_id: str
    text: str
    split: str
    gold: str | None
    label_model: str
    label: str
    next_label: str
    prior: float
    total: float
    votes: tuple[Weighed, ...]
    silent: int
    probabilities: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return it as a mapping."""
        return asdict(self)


def explain_row(places: Places, row_id: str) -> Why:
    """Explain a row of the corpus from what `vote` and `label` wrote.

    Raises
    ------
    DataError
        If no row is called so (a record that was merged leads to its message), or a file is missing.
    """
    labels, corpus = read_corpus(places.corpus)
    at = position_of(row_id, corpus, places)
    votes, labeled = read_table(places.votes, corpus), read_table(places.labels, corpus)
    model = read_label_model(places.label_model)
    names = [name for name in votes.columns if name != "row_id"]
    row = np.array(votes.drop("row_id").row(at), dtype=np.int8)
    voted = np.flatnonzero(row != ABSTAIN)
    likeliest, following, prior, total, left_out = weigh(model, row, voted)
    weighed = [
        Weighed(names[j], labels[row[j]], round(weight, 4), round(without, 4))
        for j, (weight, without) in zip(voted.tolist(), left_out, strict=True)
    ]
    about = corpus.row(at, named=True)
    shares: Sequence[float] = labeled["probabilities"][at].to_list()
    return Why(
        about["row_id"],
        about["text"],
        about["split"],
        labels[about["label"]] if about["split"] == "gold" else None,
        model.kind,
        labels[likeliest],
        labels[following],
        round(prior, 4),
        round(total, 4),
        tuple(sorted(weighed, key=lambda one: (-abs(one.weight), one.function))),
        len(names) - len(weighed),
        {label: round(float(share), 4) for label, share in zip(labels, shares, strict=True)},
    )


def position_of(row_id: str, corpus: pl.DataFrame, places: Places) -> int:
    """Return a row's position in the corpus, by its own name or that of a record it was made of."""
    found = corpus.with_row_index("at").filter((pl.col("row_id") == row_id) | pl.col("records").list.contains(row_id))
    if found.height == 0:
        first = corpus["row_id"][0] if corpus.height else ""
        raise DataError(
            f"{places.corpus}: no row '{row_id}' (test rows are not in it); a row is called such as '{first}'"
        )
    return int(found["at"][0])


def weigh(
    model: LabelModel, row: np.ndarray, voted: np.ndarray
) -> tuple[int, int, float, float, list[tuple[float, float]]]:
    """Weigh a row's votes by leaving out each in turn, whatever the label model makes of them.

    Parameters
    ----------
    model : LabelModel
        Of any kind.
    row : np.ndarray
        int8 of shape (functions,): the votes.
    voted : np.ndarray
        int of shape (votes,): the functions that do not abstain.

    Returns
    -------
    likeliest, following : int
        The two likeliest classes.
    prior, total : float
        Their log odds without a vote and with all.
    left_out : list of tuple of float
        A vote's weight, and the likeliest class's probability without it.
    """
    rows = np.tile(row, (len(voted) + 2, 1))
    rows[1] = ABSTAIN
    rows[np.arange(len(voted)) + 2, voted] = ABSTAIN
    probabilities = model.predict(rows)
    order = np.argsort(-probabilities[0], kind="stable")
    likeliest, following = int(order[0]), int(order[1])
    without = probabilities[2:, likeliest]
    if model.kind == SHARES:  # the odds of a share of all votes are infinite
        weights = (row[voted] == likeliest).astype(float) - (row[voted] == following)
        prior, total = 0.0, float(weights.sum())
    else:
        odds = np.log(np.maximum(probabilities[:, likeliest], FLOOR) / np.maximum(probabilities[:, following], FLOOR))
        weights, prior, total = odds[0] - odds[2:], float(odds[1]), float(odds[0])
    return likeliest, following, prior, total, list(zip(weights.tolist(), without.tolist(), strict=True))
