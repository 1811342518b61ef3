"""What cleanlab makes of the functions as annotators of the rows."""

import logging

import numpy as np
import pandas as pd
from cleanlab.multiannotator import get_label_quality_multiannotator

from labeling.functions import ABSTAIN

logger = logging.getLogger(__name__)

ROWS = 2_000
"""Rows that are looked at: cleanlab takes seconds for some thousands, minutes for a million."""
ATLEAST_VOTES = 5


def annotator_quality(matrix: np.ndarray, probabilities: np.ndarray, seed: int) -> list[float | None]:
    """Rate every function as an annotator, by cleanlab's CROWDLAB (Goh, Tkachenko and Mueller 2022).

    Parameters
    ----------
    matrix : np.ndarray
        int8 of shape (rows, functions): votes on the train rows.
    probabilities : np.ndarray
        float64 of shape (rows, classes): the label model's. CROWDLAB asks for a classifier's that never saw the votes; the label
        model saw them, so that a function which stands alone on its rows is rated as the label model believes it.
    seed : int
        Of the sample, 2,000 of the rows that have a vote.

    Returns
    -------
    list of float or None
        0 to 1, one a function; None where it votes on fewer than five rows of the sample.
    """
    covered = np.nonzero((matrix != ABSTAIN).any(axis=1))[0]
    if len(covered) > ROWS:
        covered = np.sort(np.random.default_rng(seed).choice(covered, ROWS, replace=False))
    sample = matrix[covered]
    many = np.nonzero((sample != ABSTAIN).sum(axis=0) >= ATLEAST_VOTES)[0]
    kept = (sample[:, many] != ABSTAIN).any(axis=1)
    quality: list[float | None] = [None] * matrix.shape[1]
    if len(many) < 2 or not kept.any():
        return quality
    votes = sample[np.ix_(kept, many)].astype(np.float64)
    votes[votes == ABSTAIN] = np.nan
    try:
        found = get_label_quality_multiannotator(
            pd.DataFrame(votes, columns=[str(j) for j in many]),
            probabilities[covered[kept]],
            return_detailed_quality=False,
            verbose=False,
        )["annotator_stats"]
    except ValueError as error:  # too few rows or classes for it; the other figures stand
        logger.warning("cleanlab could not rate the functions as annotators: %s", error)
        return quality
    for name, value in found["annotator_quality"].items():
        quality[int(name)] = round(float(value), 4) if np.isfinite(value) else None
    return quality
