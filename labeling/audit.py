"""`audit`: cleanlab looks through the labels; what can be trusted becomes the training set, the rest is kept unlabeled."""

import json
import logging
import os
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from labeling.corpus import read_corpus
from labeling.features import condense, tfidf_of
from labeling.training_set import COLUMNS, TrainingSet, write_training_set
from ledger.errors import DataError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # Datalab holds its rows in a Hugging Face data set
from cleanlab import Datalab

logger = logging.getLogger(__name__)

FEATURES = 64


class AuditParameters(Parameters):
    """Section ``audit`` of ``params.yaml``."""

    folds: Annotated[int, Field(ge=2)]
    seed: int
    min_confidence: Annotated[float, Field(ge=0, le=1)]
    drop_issues: bool
    review: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Findings:
    """What cleanlab found, a value a candidate row.

    Attributes
    ----------
    issue, outlier, near_duplicate : np.ndarray
        bool of shape (rows,).
    quality : np.ndarray
        float64 of shape (rows,), 0 to 1: how far an out-of-sample classifier believes the label.
    """

    issue: np.ndarray
    outlier: np.ndarray
    near_duplicate: np.ndarray
    quality: np.ndarray


def main(places: Places, usage: Usage) -> None:
    """Audit the app's labels and write its training set."""
    parameters = read_parameters("audit", AuditParameters)
    labels, corpus = read_corpus(places.corpus)
    labeled = pl.read_parquet(places.labels)
    if not labeled["row_id"].equals(corpus["row_id"]):
        raise DataError(f"{places.labels}: its rows are not those of {places.corpus}; run `label` again")
    rows = corpus.select("row_id", "text", "split", "label").with_columns(
        labeled["probabilities"], labeled["covered"], labeled["text_heard"]
    )

    rows = rows.with_columns(pl.Series("state", states(rows, parameters.min_confidence), dtype=pl.String))
    candidates = rows.filter(pl.col("state") == "candidate")
    check_classes(candidates, labels, places)
    findings = examine(candidates, parameters)
    logger.info(
        "%d candidates: %d label issues, %d outliers", candidates.height, findings.issue.sum(), findings.outlier.sum()
    )

    training_set = assemble(rows, candidates, findings, labels, parameters)
    check_classes(training_set.split("train"), labels, places)
    write_training_set(training_set, places.training_set)
    review = review_queue(rows, candidates, findings, labels, parameters.review)
    review.write_csv(places.review_queue)
    report = summarize(rows, findings, training_set)
    places.audit_report.parent.mkdir(parents=True, exist_ok=True)
    places.audit_report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    usage.figures["trained"] = training_set.split("train").height


def states(rows: pl.DataFrame, min_confidence: float) -> list[str]:
    """Say what each row is before the audit: ``gold``, ``uncovered``, ``low confidence`` or ``candidate``.

    A row that no function covers is a candidate where its text makes its label confident.
    """
    confident = pl.col("probabilities").list.max() >= min_confidence
    return rows.select(
        pl.when(pl.col("split") == "gold")
        .then(pl.lit("gold"))
        .when(~pl.col("covered") & ~(pl.col("text_heard") & confident))
        .then(pl.lit("uncovered"))
        .when(~confident)
        .then(pl.lit("low confidence"))
        .otherwise(pl.lit("candidate"))
        .alias("state")
    )["state"].to_list()


def check_classes(rows: pl.DataFrame, labels: tuple[str, ...], places: Places) -> None:
    """Refuse rows of which all have one label, or none has any."""
    present = rows["probabilities"].list.arg_max().unique().to_list()
    if len(present) < 2:
        what = f"only '{labels[present[0]]}'" if present else "no row at all"
        raise DataError(
            f"{places.labels}: the confident labels are {what}; expected at least two classes; add functions for the others "
            f"in {places.app_folder / 'functions.py'}, or lower audit.min_confidence"
        )


def examine(candidates: pl.DataFrame, parameters: AuditParameters) -> Findings:
    """Look for label issues, outliers and near-duplicates with cleanlab's Datalab.

    Label issues are found by confident learning (Northcutt et al. 2021) on out-of-sample probabilities of a
    logistic regression over TF-IDF features.
    """
    features = tfidf_of(candidates["text"].to_list())
    given = candidates["probabilities"].list.arg_max().to_numpy().astype(np.int64)
    classes, labels = np.unique(given, return_inverse=True)
    folds = min(parameters.folds, int(np.bincount(labels).min()))
    nothing = np.zeros(len(labels), dtype=bool)
    if folds < 2:
        logger.warning("a class has a single confident row: too few to audit the labels by cross-validation")
        return Findings(nothing, nothing, nothing, np.ones(len(labels)))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=parameters.seed)
    believed = cross_val_predict(
        LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced"),
        features,
        labels,
        cv=splitter,
        method="predict_proba",
    )
    dense = condense(features, FEATURES, parameters.seed)
    datalab = Datalab({"label": labels.tolist()}, label_name="label", verbosity=0)
    datalab.find_issues(
        pred_probs=believed, features=dense.round(6), issue_types={"label": {}, "outlier": {}, "near_duplicate": {}}
    )
    issues = datalab.get_issues()

    def column(name: str) -> np.ndarray:
        return issues[name].to_numpy(dtype=bool) if name in issues.columns else nothing

    logger.info("classes seen by the audit: %d of the app's", len(classes))
    return Findings(
        column("is_label_issue"),
        column("is_outlier_issue"),
        column("is_near_duplicate_issue"),
        issues["label_score"].to_numpy(dtype=np.float64),
    )


def assemble(
    rows: pl.DataFrame,
    candidates: pl.DataFrame,
    findings: Findings,
    labels: tuple[str, ...],
    parameters: AuditParameters,
) -> TrainingSet:
    """Make the training set: trusted candidates, the gold sample, and every other row as unlabeled text.

    A trusted row weighs between a half and one: the more the out-of-sample classifier believes its label, the more.
    Rows with an issue are not dropped: their text serves distillation, where the teacher labels it.
    """
    distrusted = findings.issue if parameters.drop_issues else np.zeros_like(findings.issue)
    verdicts = candidates.select("row_id").with_columns(
        pl.Series("trusted", ~distrusted), pl.Series("trust", (0.5 + 0.5 * findings.quality).round(4), dtype=pl.Float32)
    )
    joined = rows.join(verdicts, on="row_id", how="left", maintain_order="left")
    is_gold, is_train = pl.col("split") == "gold", pl.col("trusted").fill_null(False)
    one_hot = pl.concat_list([(pl.col("label") == i).cast(pl.Float32) for i in range(len(labels))])
    table = joined.with_columns(
        pl.when(is_gold).then(one_hot).otherwise(pl.col("probabilities")).alias("probabilities"),
        pl.when(is_gold)
        .then(pl.col("label"))
        .when(is_train)
        .then(pl.col("probabilities").list.arg_max().cast(pl.Int8))
        .otherwise(pl.lit(-1, dtype=pl.Int8))
        .alias("label"),
        pl.when(is_gold)
        .then(pl.lit(1.0))
        .when(is_train)
        .then(pl.col("trust"))
        .otherwise(0.0)
        .cast(pl.Float32)
        .alias("weight"),
        pl.when(is_gold)
        .then(pl.lit("gold"))
        .when(is_train)
        .then(pl.lit("train"))
        .otherwise(pl.lit("unlabeled"))
        .alias("split"),
    )
    return TrainingSet(labels, table.select(list(COLUMNS)))


def review_queue(
    rows: pl.DataFrame, candidates: pl.DataFrame, findings: Findings, labels: tuple[str, ...], size: int
) -> pl.DataFrame:
    """List the rows most worth a human's look: likely label issues first, then what no function could tell.

    Returns
    -------
    pl.DataFrame
        ``row_id``, ``text``, ``guess``, ``confidence``, ``why``.
    """
    why = candidates.select("row_id").with_columns(
        pl.Series("quality", findings.quality.round(4)),
        pl.Series("issue", findings.issue),
    )
    guess = pl.col("probabilities").list.arg_max().replace_strict(dict(enumerate(labels)), return_dtype=pl.String)
    return (
        rows.filter(pl.col("state") != "gold")
        .join(why, on="row_id", how="left", maintain_order="left")
        .filter(pl.col("issue").fill_null(True))
        .with_columns(
            guess.alias("guess"),
            pl.col("probabilities").list.max().round(4).alias("confidence"),
            pl.when(pl.col("issue")).then(pl.lit("label issue")).otherwise(pl.col("state")).alias("why"),
        )
        .sort(pl.col("issue").fill_null(False).not_(), "quality", "confidence", "row_id", nulls_last=True)
        .select("row_id", "text", "guess", "confidence", "why")
        .head(size)
    )


def summarize(rows: pl.DataFrame, findings: Findings, training_set: TrainingSet) -> dict[str, object]:
    """Count what the audit found and what the training set holds."""
    train = training_set.split("train")
    counted = dict(train.group_by("label").len().iter_rows())
    return {
        "rows": rows.height,
        "covered": rows.filter((pl.col("split") == "train") & pl.col("covered")).height,
        "trained": train.height,
        "unlabeled": training_set.split("unlabeled").height,
        "gold": training_set.split("gold").height,
        "low_confidence": rows.filter(pl.col("state") == "low confidence").height,
        "issues": int(findings.issue.sum()),
        "outliers": int(findings.outlier.sum()),
        "near_duplicates": int(findings.near_duplicate.sum()),
        "classes": {label: counted.get(number, 0) for number, label in enumerate(training_set.labels)},
    }


if __name__ == "__main__":
    run_stage("audit", main)
