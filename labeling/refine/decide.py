"""Whether the texts are heard: always without gold; with gold, where they do no worse than the votes alone on rows not seen."""

from dataclasses import dataclass

import numpy as np

from labeling.choice import macro_f1
from labeling.label_models import calibration_error
from labeling.refine.with_gold import refine_with_gold
from labeling.refine.without_gold import refine_without_gold

FEWEST_ROWS = 20
"""With fewer texts a classifier learns nothing of them."""
FEWEST_GOLD = 20
"""With fewer gold rows the votes and texts are not weighed by them, only measured."""


@dataclass(frozen=True)
class Refined:
    """Labels from votes and texts together, and what was measured.

    Attributes
    ----------
    probabilities : np.ndarray or None
        float64 of shape (rows, classes), each gold row's without its own label; None where the votes alone are kept.
    report : dict
        ``used``, and why not; ``macro_f1`` and ``macro_f1_votes`` on gold rows that were not seen, ``ece``, ``weights``.
    """

    probabilities: np.ndarray | None
    report: dict[str, object]


def refine(
    matrix: np.ndarray, features: np.ndarray, gold: np.ndarray, classes: int, votes_f1: float | None, seed: int
) -> Refined:
    """Label rows from votes and texts, and say whether that beats the votes alone.

    Parameters
    ----------
    matrix : np.ndarray
        int8 of shape (rows, functions), ABSTAIN for none.
    features : np.ndarray
        float32 of shape (rows, features), as `labeling.features.text_features` makes them.
    gold : np.ndarray
        int8 of shape (rows,): the hand's label, -1 where there is none.
    classes : int
        How many classes there are.
    votes_f1 : float or None
        Macro-F1 on gold of the label model on votes alone; None without gold.
    seed : int
        Of the folds over gold.
    """
    if len(matrix) < FEWEST_ROWS:
        return Refined(None, {"used": False, "why": f"fewer than {FEWEST_ROWS} rows"})
    found = refine_without_gold(matrix, features, classes)
    known = np.flatnonzero(gold >= 0)
    truth = gold[known].astype(np.int64)
    report: dict[str, object] = {"used": True, "gold_rows": len(known)}
    if len(known) >= FEWEST_GOLD and len(np.unique(truth)) > 1:
        pooled = refine_with_gold(matrix, features, classes, found, known, truth, seed)
        found = pooled.probabilities
        found[known] = pooled.held_out
        report["weights"] = pooled.weights
    if len(known) == 0 or votes_f1 is None:
        return Refined(found, report)
    found_f1 = macro_f1(found[known], truth)
    report |= {
        "macro_f1": round(found_f1, 4),
        "macro_f1_votes": round(votes_f1, 4),
        "ece": round(calibration_error(found[known], truth), 4),
    }
    # At two digits, as label models are compared: with a hundred rows, less is chance.
    if round(found_f1, 2) < round(votes_f1, 2):
        return Refined(None, report | {"used": False, "why": "the votes alone do better on gold"})
    return Refined(found, report)
