"""`label`: votes become probabilities, and texts correct them; each row keeps which functions voted what, with which weight."""

import json
import logging
from typing import Any, Literal

import numpy as np
import polars as pl

from labeling.analysis import analyze
from labeling.choice import choose
from labeling.corpus import read_corpus
from labeling.embeddings import read_embeddings
from labeling.features import text_features
from labeling.functions import ABSTAIN
from labeling.label_models import collapse, write_label_model
from labeling.provenance import provenance
from labeling.refine import Refined, refine
from labeling.source_quality import annotator_quality
from ledger.errors import DataError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage

logger = logging.getLogger(__name__)


class LabelParameters(Parameters):
    """Section ``label`` of ``params.yaml``."""

    model: Literal["auto", "majority", "weighted_majority", "triplet", "dawid_skene", "snorkel", "hierarchical"]
    text: bool
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
    patterns = collapse(matrix[train], len(labels))
    choice = choose(patterns, matrix[~train], gold, balance, parameters.model, parameters.epochs, parameters.seed)
    model = choice.model
    logger.info(
        "%d rows are %d patterns; label model '%s'; macro-F1 on %d gold rows: %s",
        *(len(patterns.inverse), patterns.height, model.kind, len(gold), choice.scores),
    )

    refined = Refined(None, {"used": False, "why": "label.text is false"})
    if parameters.text:
        embeddings = read_embeddings(places.embeddings, rows["row_id"])
        features = text_features(rows["text"].to_list(), embeddings, parameters.seed)
        hand, votes_f1 = np.where(train, -1, rows["label"].to_numpy()), choice.scores.get(model.kind)
        refined = refine(matrix, features, hand, len(labels), votes_f1, parameters.seed)
        logger.info("votes and texts together: %s", refined.report)
    probabilities = model.predict(matrix) if refined.probabilities is None else refined.probabilities
    table = rows.select("row_id", "split").with_columns(
        pl.Series("probabilities", probabilities.round(6), dtype=pl.Array(pl.Float32, len(labels))).cast(
            pl.List(pl.Float32)
        ),
        pl.Series("covered", (matrix != ABSTAIN).any(axis=1)),
        pl.lit(refined.probabilities is not None).alias("text_heard"),
        provenance(matrix, model),
    )
    table.write_parquet(places.labels, metadata={"labels": json.dumps(labels, ensure_ascii=False)})
    write_label_model(model, places.label_model)
    measured = analyze(matrix[train], probabilities[train], matrix[~train], gold)
    rated = annotator_quality(matrix[train], probabilities[train], parameters.seed)
    report = {
        "label_model": model.kind,
        "scores": choice.scores,
        "calibration": choice.calibration,
        "text": refined.report,
        "patterns": patterns.height,
        "class_balance": {label: round(float(share), 4) for label, share in zip(labels, model.balance, strict=True)},
        "functions": [
            about | figures | {"annotator_quality": quality}
            for about, figures, quality in zip(described, measured, rated, strict=True)
        ],
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


def class_balance(gold: np.ndarray, classes: int) -> np.ndarray | None:
    """Estimate the classes' shares from the gold sample, one row of each class added; None without gold."""
    known = gold[gold >= 0]
    counts = np.bincount(known, minlength=classes) + 1.0
    return counts / counts.sum() if len(known) else None


if __name__ == "__main__":
    run_stage("label", main)
