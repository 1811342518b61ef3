"""The rows that the choice of a model is made by, and those that models learn from: never the same."""

import zlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from labeling.training_set import TrainingSet

HELD_BACK = 5
"""One train row in so many is held back for the choice, where no gold sample exists."""


@dataclass(frozen=True)
class Sample:
    """A training set's rows by what they are for.

    Attributes
    ----------
    choice : pl.DataFrame
        The rows to choose by, with labels.
    learning : pl.DataFrame
        The rows to learn from: train and unlabeled.
    origin : str
        What the choice is made by, in words.
    """

    choice: pl.DataFrame
    learning: pl.DataFrame
    origin: str


def sample(training_set: TrainingSet) -> Sample:
    """Divide a training set: the gold sample is for the choice, all else for learning.

    Without a gold sample, a fifth of the train rows, taken by a hash of their ids, is held back: their labels are
    the label model's own, so a choice made by them says how well it is copied, not how right it is.
    """
    rows = training_set.rows
    gold = rows.filter(pl.col("split") == "gold")
    if gold.height:
        return Sample(gold, rows.filter(pl.col("split") != "gold"), "gold sample, labeled by hand")
    hashed = pl.Series([zlib.crc32(row_id.encode()) % HELD_BACK == 0 for row_id in rows["row_id"]], dtype=pl.Boolean)
    held_back = (rows["split"] == "train") & (rows["weight"] > 0) & hashed
    origin = "train rows held back, labeled by the label model: no gold sample"
    return Sample(rows.filter(held_back), rows.filter(~held_back), origin)


def learned_from(training_set: TrainingSet, by: Sample) -> np.ndarray:
    """Return which rows of a training set may be learned from, bool of shape ``(rows,)``."""
    return training_set.rows["row_id"].is_in(by.learning["row_id"].implode()).to_numpy()
