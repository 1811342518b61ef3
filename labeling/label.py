"""`label`: the votes become probabilities; the label model is chosen on the gold sample, if there is one."""

import json
import logging
from typing import Any, Literal

import numpy as np
import polars as pl
from sklearn.metrics import f1_score, log_loss

from labeling.analysis import analyze
from labeling.corpus import read_corpus
from labeling.functions import ABSTAIN
from labeling.label_models import LabelModel, fits, write_label_model
from ledger.errors import DataError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage

logger = logging.getLogger(__name__)

WITHOUT_GOLD = "snorkel"
"""What ``auto`` takes where nothing can be measured."""


class LabelParameters(Parameters):
    """Section ``label`` of ``params.yaml``."""

    model: Literal["auto", "majority", "dawid_skene", "snorkel"]
    epochs: int
    seed: int


def main(places: Places, usage: Usage) -> None:
    """Label the app's corpus."""
    parameters = read_parameters("label", LabelParameters)
    labels, rows = read_corpus(places.corpus)
    votes = pl.read_parquet(places.votes)
    described: list[dict[str, Any]] = json.loads(pl.read_parquet_metadata(places.votes)["functions"])
    if not votes["row_id"].equals(rows["row_id"]):
        raise DataError(f"{places.votes}: its rows are not those of {places.corpus}; run `vote` again")

    matrix = votes.drop("row_id").to_numpy().astype(np.int8)
    train = (rows["split"] == "train").to_numpy()
    gold = rows["label"].to_numpy()[~train]
    check_votes(matrix[train], labels, places)
    balance = class_balance(gold, len(labels))
    model, scores = choose(matrix[train], matrix[~train], gold, balance, parameters)
    logger.info("label model '%s'; macro-F1 on %d gold rows: %s", model.kind, len(gold), scores)

    probabilities = model.predict(matrix)
    table = rows.select("row_id", "split").with_columns(
        pl.Series("probabilities", probabilities.round(6).tolist(), dtype=pl.List(pl.Float32)),
        pl.Series("covered", (matrix != ABSTAIN).any(axis=1)),
    )
    table.write_parquet(places.labels, metadata={"labels": json.dumps(labels, ensure_ascii=False)})
    write_label_model(model, places.label_model)
    measured = analyze(matrix[train], probabilities[train], matrix[~train], gold)
    report = {
        "label_model": model.kind,
        "scores": scores,
        "class_balance": {label: round(float(share), 4) for label, share in zip(labels, balance, strict=True)},
        "functions": [about | figures for about, figures in zip(described, measured, strict=True)],
    }
    places.functions_report.parent.mkdir(parents=True, exist_ok=True)
    places.functions_report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    usage.figures["functions"] = matrix.shape[1]


def check_votes(matrix: np.ndarray, labels: tuple[str, ...], places: Places) -> None:
    """Refuse votes from which no classifier can be learned: none at all, or for one class only."""
    voted = np.unique(matrix[matrix != ABSTAIN])
    path = places.app_folder / "functions.py"
    if len(voted) == 0:
        raise DataError(f"{path}: no function votes on any train row; expected votes for at least two labels")
    if len(voted) == 1:
        raise DataError(
            f"{path}: every vote is for '{labels[voted[0]]}'; expected functions for at least two of {list(labels)}; "
            "add one for another label"
        )


def class_balance(gold: np.ndarray, classes: int) -> np.ndarray:
    """Estimate the classes' shares from the gold sample, one row of each class added; equal without gold."""
    counts = np.bincount(gold[gold >= 0], minlength=classes) + 1.0
    return counts / counts.sum()


def choose(
    train: np.ndarray, gold_matrix: np.ndarray, gold: np.ndarray, balance: np.ndarray, parameters: LabelParameters
) -> tuple[LabelModel, dict[str, float]]:
    """Fit the label model that the parameters name; ``auto`` fits all and takes the best on the gold sample.

    Ties in macro-F1 go to the lower log loss. Only train rows are fitted on, so the gold sample measures fairly.

    Returns
    -------
    model : LabelModel
        The chosen one.
    scores : dict of str to float
        Macro-F1 on gold of each that was fitted; empty without gold.
    """
    available = fits(parameters.epochs, parameters.seed)
    if parameters.model != "auto":
        model = available[parameters.model](train, balance)
        return model, {model.kind: score(model, gold_matrix, gold)[0]} if len(gold) else {}
    if train.shape[1] < 3:
        del available["snorkel"]
    if len(gold) == 0:
        kind = WITHOUT_GOLD if WITHOUT_GOLD in available else "dawid_skene"
        return available[kind](train, balance), {}
    models = [fit(train, balance) for fit in available.values()]
    scored = {model.kind: score(model, gold_matrix, gold) for model in models}
    best = max(models, key=lambda model: scored[model.kind])
    return best, {kind: f1 for kind, (f1, _) in scored.items()}


def score(model: LabelModel, matrix: np.ndarray, gold: np.ndarray) -> tuple[float, float]:
    """Score a label model on gold rows: macro-F1 and the negated log loss, both rounded to 4 digits."""
    probabilities = model.predict(matrix)
    classes = np.arange(probabilities.shape[1])
    f1 = f1_score(gold, probabilities.argmax(axis=1), labels=classes, average="macro", zero_division=0.0)
    return round(float(f1), 4), -round(float(log_loss(gold, probabilities, labels=classes)), 4)


if __name__ == "__main__":
    run_stage("label", main)
