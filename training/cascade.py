"""Makes cascades: a cheap model answers what it is sure of, another one the rest (Viola & Jones 2001; dynamic early exit).

The confidence from which the first may answer is found on texts that it was not trained on, so that it is not overrated.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ledger.errors import CheckpointError
from training.artifact import CARD_FILE, CASCADE_PARTS, MODEL_FILES, Card, read_card, write_card
from training.runtime import confidence

THRESHOLDS_FILE = "thresholds.json"


@dataclass(frozen=True)
class Threshold:
    """From which confidence on a first model answers.

    Attributes
    ----------
    budget : float
        The share of all texts that the first may answer otherwise than the teacher.
    threshold : float
        The confidence; above 1 where the first may answer nothing.
    share : float
        The share of texts that it then answers.
    """

    budget: float
    threshold: float
    share: float


def find_threshold(logits: np.ndarray, teacher: np.ndarray, budget: float) -> Threshold:
    """Find the lowest confidence by which the first model keeps to its budget.

    Parameters
    ----------
    logits : np.ndarray
        The first model's, of texts it was not trained on, ``(rows, classes)``.
    teacher : np.ndarray
        The teacher's classes for them, int, ``(rows,)``.
    budget : float
        Wrong answers by the first, as a share of all rows.
    """
    sure = confidence(logits)
    order = np.argsort(-sure, kind="stable")
    wrong = np.cumsum((logits.argmax(axis=1) != teacher)[order])
    # Rows of one confidence are answered together, or not at all.
    ends = np.append(sure[order][1:] < sure[order][:-1], True)
    within = np.flatnonzero((wrong <= budget * len(order)) & ends)
    if not len(within):
        return Threshold(budget, 2.0, 0.0)
    last = within[-1]
    return Threshold(budget, float(sure[order[last]]), float((last + 1) / len(order)))


def write_thresholds(thresholds: list[Threshold], folder: Path) -> None:
    """Write beside a first model from which confidence on it may answer."""
    document = [asdict(threshold) for threshold in thresholds]
    (folder / THRESHOLDS_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def make_cascades(substitutes: Path, candidates: Path) -> list[Card]:
    """Make a cascade of each substitute with thresholds and each student in int8, one format of each: LiteRT where it is there.

    Parameters
    ----------
    substitutes : Path
        The folder of the stage `substitute`.
    candidates : Path
        The folder of the stage `compress`; the cascades are written there too.

    Raises
    ------
    CheckpointError
        If a folder among them cannot be read.
    """
    students: dict[str, Path] = {}
    for path in sorted(candidates.glob(f"*/{CARD_FILE}")):
        card = read_card(path.parent)
        if card.role == "student" and card.precision == "int8" and card.format != "cascade":
            students.setdefault(card.name.removesuffix(f"-{card.format}-{card.precision}"), path.parent)
    made = []
    for path in sorted(substitutes.glob(f"*/{THRESHOLDS_FILE}")):
        for threshold in (Threshold(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))):
            if threshold.share:
                made += [make_cascade(path.parent, student, candidates, threshold) for student in students.values()]
    return made


def make_cascade(first: Path, second: Path, candidates: Path, threshold: Threshold) -> Card:
    """Write one cascade's folder, each part whole inside, and return its card.

    Raises
    ------
    CheckpointError
        If the two do not answer the same labels.
    """
    cards = read_card(first), read_card(second)
    if cards[0].labels != cards[1].labels:
        raise CheckpointError(
            f"{second}: expected the labels of {first}; run the stages 'substitute' and 'compress' again"
        )
    name = f"{cards[0].name}-{threshold.budget:g}-{cards[1].name}"
    folder = candidates / name
    for part, source in zip(CASCADE_PARTS, (first, second), strict=True):
        shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns(THRESHOLDS_FILE))
    parameters = cards[0].parameters + cards[1].parameters
    card = cards[1].model_copy(update={"name": name, "format": "cascade", "parameters": parameters})
    (folder / MODEL_FILES["cascade"]).write_text(json.dumps(asdict(threshold), indent=2) + "\n", encoding="utf-8")
    write_card(card, folder)
    return card
