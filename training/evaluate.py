"""Stage `evaluate`: choose by the gold sample, then, and only then, measure on the test rows.

Test rows are read after the choice is made, so that nothing about them can reach it.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, replace
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
from training.artifact import CARD_FILE, Card, Publication, SliceScore, read_card, served_bytes, write_card
from training.card_page import made, write_page
from training.choice import Choice, Gates, Measured, best_teacher, choose, front, misses, rounded
from training.confidence import at_threshold, find_threshold, fit_temperature, tempered
from training.energy import WHY_NOT
from training.label_quality import TestRows, measure_label_model, measure_train_labels
from training.last_published import find, keep
from training.latency import speeds
from training.meters import leave_meter
from training.quality import accuracy, expected_calibration_error, intervals, macro_f1, retained_interval
from training.robustness import variants
from training.runtime import Classifier, load
from training.sample import Sample, sample
from training.serving_memory import serving_memory
from training.slices import slices, worst

logger = logging.getLogger(__name__)


class EvaluateParameters(Parameters):
    """The section ``evaluate`` of ``params.yaml``."""

    gates: Gates
    latency_requests: int = Field(ge=10)
    threads: int = Field(ge=1)
    answered_accuracy: float | None = Field(default=None, gt=0, le=1)
    seed: int


@dataclass(frozen=True)
class Published:
    """What is served from now on: the chosen candidate, or the last published model where none passes.

    Attributes
    ----------
    folder : Path
        Where it stands now.
    measured : Measured
        On the sample that the choice is made by.
    kept : bool
        Whether it is the last published one.
    """

    folder: Path
    measured: Measured
    kept: bool


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
    folders = candidate_folders(places.candidates, places.substitutes)
    measured = measure(folders, by, parameters)
    choice = choose(measured, parameters.gates)
    logger.info(
        "chosen: %s (%s)", choice.student.name, "passes the gates" if choice.passed else f"misses {choice.misses}"
    )
    published = to_publish(choice, folders, places.last_published, by, parameters)

    test = read_test(places.test)
    student = load(published.folder, parameters.threads)
    teacher = load(folders[choice.teacher.name], parameters.threads)
    texts = test.rows["text"].to_list()
    answers = student.predict(texts)
    of_student = on_test(answers, published.measured, test, parameters) | student_only(student, test, parameters)
    card = published_card(published, choice, student, by, test, answers, parameters, of_student, places)
    metrics = {
        "test_rows": test.rows.height,
        "label": measure_label_model(test, places.app_folder, places.label_model, parameters.seed)
        | measure_train_labels(places.labels, places.truth),
        "teacher": on_test(teacher.predict(texts), choice.teacher, test, parameters),
        "student": of_student | confidence_report(answers, card, test),
        "gates": gates_report(choice, published, by, parameters),
    }
    write_json(metrics, places.metrics)
    on_front = front(measured)
    asked = by.choice["text"].to_list()
    memory = {
        name: serving_memory(folders[name], asked, parameters.threads)
        for name in sorted(on_front | {choice.teacher.name, choice.student.name})
    }
    rows = [
        candidate_row(c, choice, parameters.gates)
        | {
            "front": c.name in on_front,
            "serving_bytes": memory.get(c.name),
            "served": c.name == published.measured.name,
        }
        for c in measured
    ]
    write_json(rows, places.candidates_report)
    publish(published, card, places.published)
    if choice.passed:
        keep(places.published, places.last_published)
    usage.figures |= {"candidates": len(measured), "choice_rows": by.choice.height, "test_rows": test.rows.height}
    leave_meter(places, usage)


def candidate_folders(*folders: Path) -> dict[str, Path]:
    """Return the candidates' folders by their cards' names, of the stages `compress` and `substitute`.

    Raises
    ------
    CheckpointError
        If there is not at least one teacher and one student, or two have one name.
    """
    cards = {
        path.parent: read_card(path.parent) for folder in folders for path in sorted(folder.glob(f"*/{CARD_FILE}"))
    }
    found = {card.name: folder for folder, card in cards.items()}
    if {card.role for card in cards.values()} != {"teacher", "student"}:
        raise CheckpointError(
            f"{folders[0]}: expected candidates of a teacher and of a student; run the stage 'compress' first"
        )
    if len(found) < len(cards):
        raise CheckpointError(f"{folders[0]}: two candidates have the same name; give the substitute another one")
    return dict(sorted(found.items()))


def measure(folders: dict[str, Path], by: Sample, parameters: EvaluateParameters) -> list[Measured]:
    """Measure candidates on the rows that the choice is made by; their clocks run in turn, round by round."""
    classifiers = {name: load(folder, parameters.threads) for name, folder in folders.items()}
    texts, truth = by.choice["text"].to_list(), by.choice["label"].to_numpy().astype(np.int64)
    predicted = {name: classifier.predict(texts).argmax(axis=1) for name, classifier in classifiers.items()}
    fast = speeds(classifiers, texts, parameters.latency_requests)
    changed = variants(texts, parameters.seed) if parameters.gates.robustness is not None else {}
    found = []
    for name, classifier in classifiers.items():
        card, answers, classes = classifier.card, predicted[name], len(classifier.labels)
        ends = intervals(truth, answers, classes, parameters.seed)
        right = accuracy(truth, answers)
        lowest = worst(slices(texts, truth, answers, classifier.labels))
        drops = [right - accuracy(truth, classifier.predict(other).argmax(axis=1)) for other in changed.values()]
        found.append(
            Measured(
                name=name,
                role=card.role,
                format=card.format,
                precision=card.precision,
                bytes=served_bytes(folders[name], card),
                latency_ms=fast[name].latency_ms,
                latency_p95_ms=fast[name].latency_p95_ms,
                texts_per_s=fast[name].texts_per_s,
                joules_per_1000=fast[name].joules_per_1000,
                accuracy=right,
                macro_f1=macro_f1(truth, answers, classes),
                accuracy_interval=ends["accuracy"],
                macro_f1_interval=ends["macro_f1"],
                worst_slice=lowest.accuracy if lowest else None,
                robustness_drop=max(drops) if drops else None,
            )
        )
        it = found[-1]
        logger.info(
            "%-28s macro-F1 %.3f  %6.2f MB  %7.3f ms  %6.0f texts/s",
            *(name, it.macro_f1, it.bytes / 1e6, it.latency_ms, it.texts_per_s),
        )
    teachers = [it for it in found if it.role == "teacher"]
    if not teachers:
        return found
    uncut, classes = predicted[best_teacher(teachers).name], len(next(iter(classifiers.values())).labels)
    return [
        replace(it, retained_interval=retained_interval(truth, predicted[it.name], uncut, classes, parameters.seed))
        for it in found
    ]


def to_publish(
    choice: Choice, folders: dict[str, Path], last: Path, by: Sample, parameters: EvaluateParameters
) -> Published:
    """Return what is to be served: where none passes the gates, the last published model, if this machine has it whole."""
    chosen = folders[choice.student.name]
    kept = None if choice.passed else find(last, read_card(chosen).labels)
    if kept is None:
        return Published(chosen, choice.student, kept=False)
    (measured,) = measure({read_card(kept).name: kept}, by, parameters)
    logger.warning("none passes the gates: the last published model is kept (%s)", measured.name)
    return Published(kept, measured, kept=True)


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
    probabilities: np.ndarray, measured: Measured, test: TestRows, parameters: EvaluateParameters
) -> dict[str, object]:
    """Score a classifier's answers to the test rows; its bytes and speed are those that the choice was made by."""
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


def confidence_report(answers: np.ndarray, card: Card, test: TestRows) -> dict[str, object]:
    """Say what the published confidence is worth on the test rows, and what answering only where sure comes to."""
    if card.published is None:
        return {}
    served = tempered(answers, card.published.temperature)
    found = at_threshold(test.truth, served, card.published.unsure_below)
    return {
        "temperature": card.published.temperature,
        "unsure_below": card.published.unsure_below,
        "ece_tempered": expected_calibration_error(test.truth, served),
        "answered": {"coverage": found.coverage, "accuracy": found.accuracy if found.coverage else None},
    }


def gates_report(choice: Choice, published: Published, by: Sample, parameters: EvaluateParameters) -> dict[str, object]:
    """Say what was asked, what the chosen student keeps of it, and by what rows that was decided."""
    student, teacher, served = choice.student, choice.teacher, published.measured
    return {
        "passed": choice.passed,
        "misses": choice.misses,
        "asked": parameters.gates.asked(),
        "best": student.name,
        "kept_last_published": published.kept,
        "retained_macro_f1": student.macro_f1 / teacher.macro_f1 if teacher.macro_f1 > 0 else None,
        "retained_interval": student.retained_interval,
        "chosen_on": by.origin,
        "chosen_on_rows": by.choice.height,
        "threads": parameters.threads,
        "energy": WHY_NOT if served.joules_per_1000 is None else "the processor's package, RAPL",
        "times_smaller": teacher.bytes / served.bytes,
        "times_faster": teacher.latency_ms / served.latency_ms,
    }


def candidate_row(candidate: Measured, choice: Choice, gates: Gates) -> dict[str, object]:
    """Return a candidate as a row of ``candidates.json``."""
    missed = misses(candidate, choice.teacher, gates) if candidate.role == "student" else {}
    uncut = choice.teacher.macro_f1
    return asdict(rounded(candidate)) | {
        "retained_macro_f1": candidate.macro_f1 / uncut if uncut > 0 else None,
        "misses": missed,
        "passes": candidate.role == "student" and not missed,
        "chosen": candidate.name == choice.student.name,
    }


def published_card(
    published: Published,
    choice: Choice,
    classifier: Classifier,
    by: Sample,
    test: TestRows,
    answers: np.ndarray,
    parameters: EvaluateParameters,
    scored: dict[str, Any],
    places: Places,
) -> Card:
    """Return the card to publish; that of a model that is kept says what it said when it was chosen."""
    card = read_card(published.folder)
    if published.kept:
        return card
    truth = by.choice["label"].to_numpy().astype(np.int64)
    raw = classifier.predict(by.choice["text"].to_list())
    temperature = fit_temperature(truth, raw)
    threshold = find_threshold(truth, tempered(raw, temperature), parameters.answered_accuracy)
    on_rows = at_threshold(test.truth, tempered(answers, temperature), threshold.unsure_below)
    answered = {
        "coverage": threshold.coverage,
        "accuracy": threshold.accuracy,
        "test_coverage": on_rows.coverage,
        "test_accuracy": on_rows.accuracy,
    }
    sources = test.rows["sources"].to_list() if "sources" in test.rows.columns else None
    parts = slices(test.rows["text"].to_list(), test.truth, answers.argmax(axis=1), test.labels, sources)
    student, teacher = choice.student, choice.teacher
    publication = Publication(
        training_set_sha256=hashlib.sha256(places.training_set.read_bytes()).hexdigest(),
        chosen_on=f"{by.choice.height} rows: {by.origin}",
        passed=choice.passed,
        misses=round_figures(choice.misses),
        scores=round_figures({key: scored[key] for key in ("accuracy", "macro_f1", "ece")}),
        retained=round_figures(student.macro_f1 / teacher.macro_f1) if teacher.macro_f1 > 0 else None,
        retained_interval=round_figures(student.retained_interval),
        temperature=temperature,
        unsure_below=round_figures(threshold.unsure_below),
        answered={key: round_figures(value) for key, value in answered.items() if np.isfinite(value)},
        slices=[SliceScore(**round_figures(asdict(part))) for part in parts],
        robustness=round_figures(scored["robustness"]),
        made=made(card),
        limits=limits(card, test.rows.height),
    )
    return card.model_copy(update={"published": publication})


def publish(published: Published, card: Card, to: Path) -> None:
    """Copy what is to be served to where serving finds it, with its card; a kept model to the byte as it was."""
    part = to.with_suffix(f".{os.getpid()}.part")
    shutil.copytree(published.folder, part)
    if not published.kept:
        write_card(card, part)
        write_page(card, part)
    shutil.rmtree(to, ignore_errors=True)
    part.rename(to)


def limits(card: Card, test_rows: int) -> list[str]:
    """State in sentences what the published model does not do."""
    read = {"bag": "words", "convolution": "words", "cascade": "words, or tokens where it is unsure,"}
    return [
        f"Reads the first {card.max_length} {read.get(card.format, 'tokens')} of a text; what follows is not seen.",
        f"Answers one of {', '.join(card.labels)} for any text, also for one that is none of them.",
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
