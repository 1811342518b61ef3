"""The contract between labeling and training: the training set.

`audit` writes it, `teach` and `distill` read it, and nothing else passes between the two floors.
The label names travel in the file's own metadata, so that no stage of training reads an app's configuration.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ledger.errors import DataError

SPLITS = ("train", "gold", "unlabeled")
"""``train``: labeled by the label model; ``gold``: labeled by hand, for choosing; ``unlabeled``: text only."""

COLUMNS: dict[str, pl.DataType] = {
    "row_id": pl.String(),
    "text": pl.String(),
    "split": pl.String(),
    "probabilities": pl.List(pl.Float32()),
    "label": pl.Int8(),
    "weight": pl.Float32(),
}


@dataclass(frozen=True)
class TrainingSet:
    """A validated training set.

    Attributes
    ----------
    labels : tuple of str
        The names of the classes; the position is the label.
    rows : pl.DataFrame
        A row a message: ``row_id`` (str), ``text`` (str), ``split`` (one of SPLITS), ``probabilities`` (list of float32, one a class,
        summing to 1), ``label`` (int8, their arg max; for gold the hand's label; -1 where unlabeled), ``weight``
        (float32, >= 0, the row's trust in the loss; 0 where unlabeled).
    """

    labels: tuple[str, ...]
    rows: pl.DataFrame

    def split(self, name: str) -> pl.DataFrame:
        """Return the rows of one split, in order."""
        return self.rows.filter(pl.col("split") == name)

    def probabilities(self, name: str) -> np.ndarray:
        """Return one split's probabilities, float32 of shape (rows, classes)."""
        rows = self.split(name)["probabilities"].to_list()
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), len(self.labels))


def write_training_set(training_set: TrainingSet, path: Path) -> None:
    """Validate and write; the same rows give the same bytes."""
    check(training_set, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    training_set.rows.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items()).write_parquet(
        path, metadata={"labels": json.dumps(list(training_set.labels))}
    )


def read_training_set(path: Path) -> TrainingSet:
    """Read and validate.

    Raises
    ------
    DataError
        If the file is missing or breaks the contract; the message names the column and the first row.
    """
    if not path.exists():
        raise DataError(f"{path}: not found; run the stage 'audit' first")
    labels = tuple(json.loads(pl.read_parquet_metadata(path).get("labels", "[]")))
    training_set = TrainingSet(labels, pl.read_parquet(path))
    check(training_set, path)
    return training_set


def check(training_set: TrainingSet, path: Path) -> None:
    """Hold a training set to the contract, or raise a DataError that names the first row at fault."""
    labels, rows = training_set.labels, training_set.rows
    if len(labels) < 2:
        raise DataError(f"{path}: expected at least two labels, got {list(labels)}")
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise DataError(f"{path}: expected the columns {list(COLUMNS)}, missing {missing}")
    classes = len(labels)
    faults = {
        f"split, one of {SPLITS}": ~pl.col("split").is_in(SPLITS),
        "text, not empty": pl.col("text").str.strip_chars().str.len_chars() == 0,
        f"{classes} probabilities, each in 0..1, summing to 1": (pl.col("probabilities").list.len() != classes)
        | ((pl.col("probabilities").list.sum() - 1).abs() > 1e-3)
        | (pl.col("probabilities").list.min() < 0),
        f"label in 0..{classes - 1}, -1 only where unlabeled": (pl.col("label") >= classes)
        | ((pl.col("label") < 0) & (pl.col("split") != "unlabeled")),
        "weight of at least 0": ~(pl.col("weight") >= 0),
    }
    for expected, fault in faults.items():
        broken = rows.filter(fault.fill_null(True))
        if broken.height:
            raise DataError(f"{path}: row '{broken['row_id'][0]}' and {broken.height - 1} more: expected {expected}")
