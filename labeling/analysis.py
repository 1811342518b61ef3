"""What each labeling function was worth: coverage, overlaps, conflicts, accuracy on gold, learned worth."""

from typing import Any

import numpy as np

from labeling.functions import ABSTAIN


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
    voted = matrix != ABSTAIN
    others = voted.sum(axis=1, keepdims=True) - voted
    agreeing = np.stack([(matrix == matrix[:, [j]]).sum(axis=1) - 1 for j in range(matrix.shape[1])], axis=1)
    rows = max(len(matrix), 1)
    found = []
    for j in range(matrix.shape[1]):
        mine = voted[:, j]
        believed = probabilities[mine, matrix[mine, j]]
        on_gold = gold_matrix[:, j] != ABSTAIN
        right = gold_matrix[on_gold, j] == gold[on_gold]
        found.append(
            {
                "coverage": round(float(mine.sum()) / rows, 4),
                "overlaps": round(float((mine & (others[:, j] > 0)).sum()) / rows, 4),
                "conflicts": round(float((mine & (others[:, j] > agreeing[:, j])).sum()) / rows, 4),
                "accuracy_gold": round(float(right.mean()), 4) if len(right) else None,
                "gold_votes": len(right),
                "worth": round(float(believed.mean()), 4) if len(believed) else None,
            }
        )
    return found
