"""Public sets with their gold labels: what is learned from, what is chosen by, and what is measured on."""

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.data import public_data
from labeling.training_set import COLUMNS, TrainingSet, write_training_set

SETS = ("youtube", "sms", "financial_phrasebank", "banking77")
OTHERS = ("clothing_reviews", "hausa", "semeval")
"""Sets on which a rule may be tried that SETS are then measured by."""
CHOICE, TEST, HELD_OUT = 0.1, 0.2, 0.6
"""Shares drawn, by label, of sets whose publisher has not: of train rows to choose by, of all rows to measure on; of OTHERS' rows."""

FEWEST = 20
"""Reviews that a department needs to be a label."""

Texts = tuple[list[str], list[int]]


@dataclass(frozen=True)
class GoldSet:
    """A set in three parts: texts, and the number of each one's label.

    Attributes
    ----------
    labels : tuple of str
        The names of the classes.
    train, choice, test : Texts
        Test texts are read once all is chosen.
    """

    labels: tuple[str, ...]
    train: Texts
    choice: Texts
    test: Texts


def read_gold_set(name: str) -> GoldSet:
    """Read a set: youtube and sms as WRENCH splits them, banking77's published test, a fifth of the phrase bank (half agreeing).

    Of OTHERS, three fifths of all rows are test: the department of a clothes review, a Hausa headline's topic, SemEval's relations.
    """
    folder = public_data(name) / name
    if name == "financial_phrasebank":
        lines = (folder / "Sentences_50Agree.txt").read_text("latin-1").splitlines()
        labels = ("negative", "neutral", "positive")
        first = {text: labels.index(label) for text, _, label in (line.rpartition("@") for line in lines) if text}
        return _divided(labels, (list(first), list(first.values())), TEST)
    if name == "clothing_reviews":
        return _divided(*_read_reviews(folder / "reviews.csv"), HELD_OUT)
    if name == "banking77":
        intents = tuple(json.loads((folder / "categories.json").read_text("utf-8")))
        train, test = (_read_csv(folder / f"{part}.csv", intents) for part in ("train", "test"))
        return GoldSet(intents, *divide(train, CHOICE, seed=1), test)
    names = tuple(json.loads((folder / "label.json").read_text("utf-8")).values())
    parts = [_read_wrench(folder / f"{part}.json") for part in ("train", "valid", "test")]
    if name in OTHERS:
        rows = ([text for texts, _ in parts for text in texts], [number for _, numbers in parts for number in numbers])
        return _divided(names, rows, HELD_OUT)
    return GoldSet(names, *parts)


def _divided(labels: tuple[str, ...], rows: Texts, test: float) -> GoldSet:
    learned, held_out = divide(rows, test, seed=0)
    return GoldSet(labels, *divide(learned, CHOICE, seed=1), held_out)


def divide(rows: Texts, share: float, seed: int) -> tuple[Texts, Texts]:
    """Hold a share of each label's rows back, at least one; what stays comes first."""
    labels, random = np.asarray(rows[1]), np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        of_label = random.permutation(np.flatnonzero(labels == label))
        held[of_label[: max(1, round(share * len(of_label)))]] = True
    stays, goes = (([rows[0][row] for row in np.flatnonzero(m)], labels[m].tolist()) for m in (~held, held))
    return stays, goes


def write_gold_set(gold_set: GoldSet, path: Path) -> None:
    """Write train and choice as a training set whose labels are all sure."""
    sure = np.eye(len(gold_set.labels), dtype=np.float32)
    rows = [
        (f"{split}-{number}", text, split, sure[label].tolist(), label, 1.0)
        for split, part in (("train", gold_set.train), ("gold", gold_set.choice))
        for number, (text, label) in enumerate(zip(*part, strict=True))
        if text.strip()
    ]
    write_training_set(TrainingSet(gold_set.labels, pl.DataFrame(rows, schema=COLUMNS, orient="row")), path)


def _read_reviews(path: Path) -> tuple[tuple[str, ...], Texts]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [(row["ReviewText"], row["DepartmentName"]) for row in csv.DictReader(file)]
    counts = Counter(label for text, label in rows if text and label)
    names = tuple(sorted(label for label, count in counts.items() if count >= FEWEST))
    kept = [(text, names.index(label)) for text, label in rows if text and label in names]
    return names, ([text for text, _ in kept], [label for _, label in kept])


def _read_csv(path: Path, labels: tuple[str, ...]) -> Texts:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], labels.index(row["category"])) for row in csv.DictReader(file)]
    return [text for text, _ in rows], [label for _, label in rows]


def _read_wrench(path: Path) -> Texts:
    rows = json.loads(path.read_text("utf-8")).values()
    return [row["data"]["text"] for row in rows], [int(row["label"]) for row in rows]
