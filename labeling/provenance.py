"""Where a row's label came from: which functions voted what, and what each vote weighed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from labeling.functions import ABSTAIN
from labeling.label_models import LabelModel
from labeling.label_models.model import SHARES

COLUMN = "provenance"


class Vote(NamedTuple):
    """One vote on a row.

    Attributes
    ----------
    function, label : str
        Who voted, and for what.
    weight : float
        By how much the vote raised the log odds of its label against the other labels' mean; of the majority, the vote's
        share of the row. Negative where the label model takes the vote as a sign against its own label.
    """

    function: str
    label: str
    weight: float


def vote_weights(model: LabelModel) -> np.ndarray:
    """Return the weight of each vote, float32 of shape (functions, classes), before a row's other votes are known."""
    own = np.einsum("jvv->jv", model.weights)
    if model.kind == SHARES:
        return own.astype(np.float32)
    others = (model.weights.sum(axis=2) - own) / max(model.classes - 1, 1)
    return (own - others).astype(np.float32)


def explain(
    votes: np.ndarray, model: LabelModel, described: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> list[Vote]:
    """List a row's votes with what each weighed, the heaviest first.

    Parameters
    ----------
    votes : np.ndarray
        int8 of shape (functions,): the row of ``votes.parquet``, ABSTAIN for none.
    model : LabelModel
        As `read_label_model` reads it.
    described : sequence of mapping
        The functions as the metadata key ``functions`` of ``votes.parquet`` describes them.
    labels : sequence of str
        The names of the classes.

    Returns
    -------
    list of Vote
        Empty where no function votes.
    """
    row = provenance(votes[None, :], model)[0]
    found = [Vote(described[vote["function"]]["name"], labels[vote["vote"]], vote["weight"]) for vote in row]
    return sorted(found, key=lambda vote: -abs(vote.weight))


def provenance(matrix: np.ndarray, model: LabelModel) -> pl.Series:
    """Return each row's votes as `labels.parquet` keeps them.

    Parameters
    ----------
    matrix : np.ndarray
        int8 of shape (rows, functions), ABSTAIN for none.
    model : LabelModel
        The one that labeled the rows.

    Returns
    -------
    pl.Series
        Lists of ``{function: int16, vote: int8, weight: float32}``; the function is the number of its column among the votes.
    """
    row, function = np.nonzero(matrix != ABSTAIN)
    vote = matrix[row, function]
    many = np.bincount(row, minlength=len(matrix))
    weight = vote_weights(model)[function, vote]
    if model.kind == SHARES:
        total = np.bincount(row, weight, len(matrix))
        weight = (weight / total[row]).astype(np.float32)
    elif model.dependence:
        weight = (weight / (1 + model.dependence * (many[row] - 1))).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(many)])
    struct = pa.StructArray.from_arrays(
        [pa.array(function.astype(np.int16)), pa.array(vote.astype(np.int8)), pa.array(weight)],
        names=["function", "vote", "weight"],
    )
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, type=pa.int64()), struct)
    series = pl.from_arrow(lists)
    assert isinstance(series, pl.Series)
    return series.alias(COLUMN)
