"""Stage `evaluate`: choose by the gold sample, then, and only then, measure on the test rows.

Test rows are read after the choice is made, so that nothing about them can reach it.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from labeling.training_set import read_training_set
from ledger.errors import CheckpointError, DataError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage
from training.artifact import CARD_FILE, Publication, read_card, served_bytes, write_card
from training.choice import Choice, Gates, Measured, choose, misses, rounded
from training.label_quality import TestRows, measure_label_model, measure_train_labels
from training.latency import latency_ms, throughput
from training.meters import leave_meter
from training.quality import accuracy, expected_calibration_error, intervals, macro_f1
from training.robustness import variants
from training.runtime import Classifier, load
from training.sample import Sample, sample

logger = logging.getLogger(__name__)


class EvaluateParameters(Parameters):
    """The section ``evaluate`` of ``params.yaml``."""

    gates: Gates
    latency_requests: int = Field(ge=10)
    threads: int = Field(ge=1)
    seed: int


def main(places: Places, usage: Usage) -> None:
    """Measure the candidates, choose, measure the chosen on test, and publish it."""
    parameters = read_parameters("evaluate", EvaluateParameters)
    os.environ["RAYON_NUM_THREADS"] = str(parameters.threads)  # the tokenizer's threads count too
    training_set = read_training_set(places.training_set)
    by = sample(training_set)
    if not by.choice.height:
        raise DataError(
            f"{places.training_set}: expected gold or train rows to choose a model by; label some rows by hand"
        )
    logger.info("choosing by %d rows: %s", by.choice.height, by.origin)
    measured = [measure_candidate(folder, by, parameters) for folder in candidate_folders(places.candidates)]
    choice = choose(measured, parameters.gates)
    logger.info(
        "chosen: %s (%s)", choice.student.name, "passes the gates" if choice.passed else f"misses {choice.misses}"
    )

    test = read_test(places.test)
    student = load(places.candidates / choice.student.name, parameters.threads)
    teacher = load(places.candidates / choice.teacher.name, parameters.threads)
    of_student = on_test(student, choice.student, test, parameters) | student_only(student, test, parameters)
    metrics = {
        "test_rows": test.rows.height,
        "label": measure_label_model(test, places.app_folder, places.label_model, parameters.seed)
        | measure_train_labels(places.labels, places.truth),
        "teacher": on_test(teacher, choice.teacher, test, parameters),
        "student": of_student,
        "gates": gates_report(choice, by, parameters),
    }
    write_json(metrics, places.metrics)
    write_json([candidate_row(c, choice, parameters.gates) for c in measured], places.candidates_report)
    publish(places, choice, by, of_student, test.rows.height)
    usage.figures |= {"candidates": len(measured), "choice_rows": by.choice.height, "test_rows": test.rows.height}
    leave_meter(places, usage)


def candidate_folders(folder: Path) -> list[Path]:
    """Return the candidates' folders, by name.

    Raises
    ------
    CheckpointError
        If there is not at least one teacher and one student.
    """
    found = sorted(path.parent for path in folder.glob(f"*/{CARD_FILE}"))
    if {read_card(path).role for path in found} != {"teacher", "student"}:
        raise CheckpointError(
            f"{folder}: expected candidates of a teacher and of a student; run the stage 'compress' first"
        )
    return found


def measure_candidate(folder: Path, by: Sample, parameters: EvaluateParameters) -> Measured:
    """Measure one candidate on the rows that the choice is made by."""
    classifier = load(folder, parameters.threads)
    texts, truth = by.choice["text"].to_list(), by.choice["label"].to_numpy()
    predicted = classifier.predict(texts).argmax(axis=1)
    classes = len(classifier.labels)
    ends = intervals(truth, predicted, classes, parameters.seed)
    card = classifier.card
    measured = Measured(
        name=card.name,
        role=card.role,
        format=card.format,
        precision=card.precision,
        bytes=served_bytes(folder, card),
        latency_ms=latency_ms(classifier, texts, parameters.latency_requests),
        texts_per_s=throughput(classifier, texts),
        accuracy=accuracy(truth, predicted),
        macro_f1=macro_f1(truth, predicted, classes),
        accuracy_interval=ends["accuracy"],
        macro_f1_interval=ends["macro_f1"],
    )
    logger.info(
        "%-28s macro-F1 %.3f  %6.2f MB  %7.3f ms  %6.0f texts/s",
        card.name,
        measured.macro_f1,
        measured.bytes / 1e6,
        measured.latency_ms,
        measured.texts_per_s,
    )
    return measured


def read_test(path: Path) -> TestRows:
    """Read the test rows.

    Raises
    ------
    DataError
        If there is no file, or no row in it.
    """
    if not path.exists():
        raise DataError(f"{path}: not found; run the stage 'fuse' first")
    labels = tuple(json.loads(pl.read_parquet_metadata(path).get("labels", "[]")))
    rows = pl.read_parquet(path)
    if not rows.height or len(labels) < 2:
        raise DataError(
            f"{path}: expected test rows and at least two labels; raise fuse.test in params.yaml, or publish a test split"
        )
    return TestRows(labels, rows)


def on_test(
    classifier: Classifier, measured: Measured, test: TestRows, parameters: EvaluateParameters
) -> dict[str, object]:
    """Score a classifier on the test rows; its bytes and speed are those that the choice was made by."""
    probabilities = classifier.predict(test.rows["text"].to_list())
    predicted, classes = probabilities.argmax(axis=1), len(test.labels)
    ends = intervals(test.truth, predicted, classes, parameters.seed)
    return {
        "name": measured.name,
        "accuracy": accuracy(test.truth, predicted),
        "accuracy_interval": ends["accuracy"],
        "macro_f1": macro_f1(test.truth, predicted, classes),
        "macro_f1_interval": ends["macro_f1"],
        "bytes": measured.bytes,
        "latency_ms": measured.latency_ms,
        "texts_per_s": measured.texts_per_s,
        "ece": expected_calibration_error(test.truth, probabilities),
    }


def student_only(classifier: Classifier, test: TestRows, parameters: EvaluateParameters) -> dict[str, object]:
    """Score the student on the test rows as people also write them."""
    changed = variants(test.rows["text"].to_list(), parameters.seed)
    return {
        "robustness": {
            name: accuracy(test.truth, classifier.predict(texts).argmax(axis=1)) for name, texts in changed.items()
        }
    }


def gates_report(choice: Choice, by: Sample, parameters: EvaluateParameters) -> dict[str, object]:
    """Say what was asked, what the chosen student keeps of it, and by what rows that was decided."""
    student, teacher = choice.student, choice.teacher
    return {
        "passed": choice.passed,
        "misses": choice.misses,
        "asked": parameters.gates.model_dump(),
        "retained_macro_f1": student.macro_f1 / teacher.macro_f1 if teacher.macro_f1 > 0 else None,
        "chosen_on": by.origin,
        "chosen_on_rows": by.choice.height,
        "threads": parameters.threads,
        "times_smaller": teacher.bytes / student.bytes,
        "times_faster": teacher.latency_ms / student.latency_ms,
    }


def candidate_row(candidate: Measured, choice: Choice, gates: Gates) -> dict[str, object]:
    """Return a candidate as a row of ``candidates.json``."""
    return asdict(rounded(candidate)) | {
        "passes": candidate.role == "student" and not misses(candidate, choice.teacher, gates),
        "chosen": candidate.name == choice.student.name,
    }


def publish(places: Places, choice: Choice, by: Sample, student: dict[str, object], test_rows: int) -> None:
    """Copy the chosen candidate to where serving finds it, and write on its card how it came about."""
    source = places.candidates / choice.student.name
    part = places.published.with_suffix(f".{os.getpid()}.part")
    shutil.copytree(source, part)
    card = read_card(source)
    scores = {key: student[key] for key in ("accuracy", "macro_f1", "ece")}
    publication = Publication(
        training_set_sha256=hashlib.sha256(places.training_set.read_bytes()).hexdigest(),
        chosen_on=f"{by.choice.height} rows: {by.origin}",
        passed=choice.passed,
        scores=round_figures(scores),
        limits=limits(card.max_length, card.labels, test_rows),
    )
    write_card(card.model_copy(update={"published": publication}), part)
    shutil.rmtree(places.published, ignore_errors=True)
    part.rename(places.published)


def limits(max_length: int, labels: list[str], test_rows: int) -> list[str]:
    """State in sentences what the published model does not do."""
    return [
        f"Reads the first {max_length} tokens of a text; what follows is not seen.",
        f"Answers one of {', '.join(labels)} for any text, also for one that is none of them.",
        f"Scored on {test_rows} test rows of its own sources; other sources were not measured.",
    ]


def write_json(document: object, path: Path) -> None:
    """Write JSON, its figures rounded to what was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(round_figures(document), indent=2) + "\n", encoding="utf-8")


def round_figures(document: Any) -> Any:
    """Round every float of a document to four digits after the point."""
    if isinstance(document, dict):
        return {key: round_figures(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [round_figures(value) for value in document]
    if isinstance(document, float | np.floating):
        return round(float(document), 4)
    return document


if __name__ == "__main__":
    run_stage("evaluate", main)
