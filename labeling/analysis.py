"""What each labeling function was worth: coverage, overlaps, conflicts, accuracy on gold, learned worth."""

from typing import Any

import numpy as np

from labeling.functions import ABSTAIN
from labeling.label_models.patterns import CHUNK


def analyze(
    matrix: np.ndarray, probabilities: np.ndarray, gold_matrix: np.ndarray, gold: np.ndarray
) -> list[dict[str, Any]]:
    """Measure every function.

    Parameters
    ----------
    matrix : np.ndarray
        int8 of shape (rows, functions): votes on the train rows.
    probabilities : np.ndarray
        float64 of shape (rows, classes): the label model's, for the same rows.
    gold_matrix : np.ndarray
        int8 of shape (gold rows, functions).
    gold : np.ndarray
        int8 of shape (gold rows,): the hand's labels.

    Returns
    -------
    list of dict
        One a function. ``coverage``, ``overlaps``, ``conflicts``: shares of all train rows on which it votes, on which
        another votes too, on which another votes differently (as Snorkel's LFAnalysis). ``accuracy_gold``: of its votes on gold
        rows, None without any; ``gold_votes``: how many. ``worth``: the share of its votes that the label model believes.
    """
    height, width = matrix.shape
    votes, overlaps, conflicts, believed = (np.zeros(width) for _ in range(4))
    for start in range(0, height, CHUNK):
        chunk, shares = matrix[start : start + CHUNK], probabilities[start : start + CHUNK]
        row, function = np.nonzero(chunk != ABSTAIN)
        vote = chunk[row, function].astype(np.int64)
        on_row = np.bincount(row, minlength=len(chunk))[row]
        classes = shares.shape[1]
        alike = np.bincount(row * classes + vote, minlength=len(chunk) * classes)[row * classes + vote]
        votes += np.bincount(function, minlength=width)
        overlaps += np.bincount(function, on_row > 1, width)
        conflicts += np.bincount(function, alike < on_row, width)
        believed += np.bincount(function, shares[row, vote], width)
    on_gold = gold_matrix != ABSTAIN
    gold_votes = on_gold.sum(axis=0)
    right = (on_gold & (gold_matrix == gold[:, None])).sum(axis=0)
    rows = max(height, 1)
    return [
        {
            "coverage": round(float(votes[j]) / rows, 4),
            "overlaps": round(float(overlaps[j]) / rows, 4),
            "conflicts": round(float(conflicts[j]) / rows, 4),
            "accuracy_gold": round(float(right[j] / gold_votes[j]), 4) if gold_votes[j] else None,
            "gold_votes": int(gold_votes[j]),
            "worth": round(float(believed[j] / votes[j]), 4) if votes[j] else None,
        }
        for j in range(width)
    ]
