"""Why a row has its label: which function voted what on it, and what each vote weighed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from labeling.corpus import read_corpus
from labeling.functions.vocabulary import ABSTAIN
from labeling.label_models import FLOOR, LabelModel, read_label_model
from labeling.tables import read_table
from ledger.errors import DataError
from ledger.places import Places


@dataclass(frozen=True)
class Weighed:
    """A vote and what it weighs.

    Attributes
    ----------
    function, vote : str
        Who voted what.
    weight : float
        Log-likelihood ratio, natural: how far the vote moves the odds of the likeliest label against the next; above 0 for the
        likeliest. Of a majority: 1 for the likeliest label, -1 for the next, 0 for another.
    """

    function: str
    vote: str
    weight: float


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
    prior : float
        Log odds of the two by the class balance; 0 for a majority.
    votes : tuple of Weighed
        The heaviest first. Prior and weights add up to the log odds (of a majority: to the votes that it is ahead by).
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
    row = votes.drop("row_id").row(at)
    likeliest, following = top_two(model, np.array([row], dtype=np.int8))
    weighed = [
        Weighed(name, labels[vote], round(weight_of(model, j, vote, likeliest, following), 4))
        for j, (name, vote) in enumerate(zip(names, row, strict=True))
        if vote != ABSTAIN
    ]
    about = corpus.row(at, named=True)
    balance = np.log(np.maximum(model.balance, FLOOR))
    shares: Sequence[float] = labeled["probabilities"][at].to_list()
    return Why(
        about["row_id"],
        about["text"],
        about["split"],
        labels[about["label"]] if about["split"] == "gold" else None,
        model.kind,
        labels[likeliest],
        labels[following],
        0.0 if model.kind == "majority" else round(float(balance[likeliest] - balance[following]), 4),
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


def top_two(model: LabelModel, pattern: np.ndarray) -> tuple[int, int]:
    """Return the two likeliest classes of a pattern of votes, int8 of shape (1, functions)."""
    order = np.argsort(-model.predict(pattern)[0], kind="stable")
    return int(order[0]), int(order[1])


def weight_of(model: LabelModel, function: int, vote: int, likeliest: int, following: int) -> float:
    """Return what a vote adds to the log odds of the likeliest class against the next."""
    if model.kind == "majority":
        return float(vote == likeliest) - float(vote == following)
    table = np.log(np.maximum(model.conditionals[function, vote], FLOOR))
    return float(table[likeliest] - table[following])
