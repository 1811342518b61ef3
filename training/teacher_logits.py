"""The teacher's logits, from `teach` to the stages that learn from them."""

from pathlib import Path

import numpy as np
import polars as pl

from labeling.training_set import TrainingSet
from ledger.errors import DataError


def write_logits(training_set: TrainingSet, logits: np.ndarray, path: Path) -> None:
    """Write the logits of every row: ``row_id`` (str), ``logits`` (list of float32, one a label)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"row_id": training_set.rows["row_id"], "logits": pl.Series(logits.tolist(), dtype=pl.List(pl.Float32))}
    pl.DataFrame(table).write_parquet(path)


def read_logits(path: Path, training_set: TrainingSet) -> np.ndarray:
    """Read the teacher's logits in the training set's order, float32 of shape ``(rows, classes)``.

    Raises
    ------
    DataError
        If the file is missing, or lacks a row of the training set.
    """
    if not path.exists():
        raise DataError(f"{path}: not found; run the stage 'teach' first")
    rows = training_set.rows.select("row_id").join(
        pl.read_parquet(path), on="row_id", how="left", maintain_order="left"
    )
    missing = rows.filter(pl.col("logits").is_null())
    if missing.height:
        raise DataError(
            f"{path}: no logits for row '{missing['row_id'][0]}' and {missing.height - 1} more; run the stage 'teach' again"
        )
    return np.asarray(rows["logits"].to_list(), dtype=np.float32)
