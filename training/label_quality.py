"""How good the label model's labels are: on test rows, and on the train rows it labeled, where the truth is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from labeling.functions import ABSTAIN, FUNCTIONS_FILE, load_functions
from labeling.label_models import read_label_model
from labeling.vote import label_matrix
from ledger.errors import FunctionError
from training.quality import accuracy, intervals, macro_f1


@dataclass(frozen=True)
class TestRows:
    """The test rows.

    Attributes
    ----------
    labels : tuple of str
        The names of the classes.
    rows : pl.DataFrame
        ``row_id``, ``text``, ``label`` and the app's own fields.
    """

    labels: tuple[str, ...]
    rows: pl.DataFrame

    @property
    def truth(self) -> np.ndarray:
        """The labels, int64 of shape (rows,)."""
        return self.rows["label"].to_numpy().astype(np.int64)


def measure_label_model(test: TestRows, app_folder: Path, label_model: Path, seed: int) -> dict[str, object]:
    """Vote on the test rows with the app's functions, and score the label model's answers.

    Returns
    -------
    dict
        ``coverage``: the share of rows with a vote; ``accuracy`` and ``macro_f1`` over covered rows, with their
        intervals; ``accuracy_all`` over all rows, those without a vote answered by the class balance.
    """
    try:
        matrix = label_matrix(load_functions(app_folder, test.labels), test.rows, test.labels)
    except FunctionError as error:
        raise FunctionError(f"{app_folder / FUNCTIONS_FILE}: on test rows: {error}", error.function) from None
    predicted = read_label_model(label_model).predict(matrix).argmax(axis=1)
    covered = (matrix != ABSTAIN).any(axis=1)
    truth, classes = test.truth, len(test.labels)
    scores: dict[str, object] = {
        "accuracy": accuracy(truth[covered], predicted[covered]) if covered.any() else None,
        "coverage": float(covered.mean()),
        "accuracy_all": accuracy(truth, predicted),
        "macro_f1": macro_f1(truth[covered], predicted[covered], classes) if covered.any() else None,
    }
    if covered.any():
        ends = intervals(truth[covered], predicted[covered], classes, seed)
        scores |= {f"{name}_interval": interval for name, interval in ends.items()}
    return scores


def measure_train_labels(labels: Path, truth: Path) -> dict[str, object]:
    """Score the labels of train rows that have a vote against their known truth; nothing where none is known."""
    known = pl.read_parquet(truth).filter(pl.col("label") >= 0).select("row_id", truth="label")
    labeled = pl.read_parquet(labels).filter((pl.col("split") == "train") & pl.col("covered"))
    joined = labeled.join(known, on="row_id")
    if not joined.height:
        return {}
    predicted = np.asarray(joined["probabilities"].to_list(), dtype=np.float64).argmax(axis=1)
    return {"train_accuracy": accuracy(joined["truth"].to_numpy(), predicted), "train_rows": joined.height}
