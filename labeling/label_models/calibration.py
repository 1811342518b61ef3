"""Calibration: of the rows that are given 80 %, 80 % should be right. Fitted on gold rows, measured as ECE."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from labeling.label_models.softmax import softmax

BINS = 15
FLOOR = 1e-4
SHIFT_ROWS = 10
"""Gold rows a class from which its shift is fitted too; below, the temperature alone."""
PRIOR = 1.0
"""Strength of the pull to no change, in the units of a row's log loss."""


@dataclass(frozen=True)
class Calibration:
    """Temperature and vector scaling of probabilities (Guo et al. 2017, section 4.2).

    Attributes
    ----------
    scale : float
        Multiplies the log probabilities: below 1 it makes them less certain. The inverse of the temperature.
    shift : np.ndarray
        float64 of shape (classes,): added to the log probabilities; zeros where gold rows are few.
    """

    scale: float
    shift: np.ndarray

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float64 of the same shape (rows, classes)."""
        return softmax(self.scale * np.log(np.maximum(probabilities, FLOOR)) + self.shift)


def fit_calibration(probabilities: np.ndarray, gold: np.ndarray) -> Calibration:
    """Fit scale and shift to gold rows by penalized log loss.

    The penalty pulls to no change, so that a handful of gold rows moves little. The classes' shifts are fitted
    only where each class has at least ``SHIFT_ROWS`` gold rows.

    Parameters
    ----------
    probabilities : np.ndarray
        float64 of shape (rows, classes).
    gold : np.ndarray
        int of shape (rows,): the right classes.
    """
    classes = probabilities.shape[1]
    logs = np.log(np.maximum(probabilities, FLOOR))
    shifted = len(gold) > 0 and int(np.bincount(gold, minlength=classes).min()) >= SHIFT_ROWS
    rows = np.arange(len(gold))

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        scale = np.exp(free[0])
        scores = scale * logs + (free[1:] if shifted else 0.0)
        scores = scores - scores.max(axis=1, keepdims=True)
        likelihood = np.exp(scores)
        total = likelihood.sum(axis=1, keepdims=True)
        error = likelihood / total
        value = float(np.log(total).sum() - scores[rows, gold].sum()) + PRIOR * float(free @ free)
        error[rows, gold] -= 1.0
        gradient = 2 * PRIOR * free
        gradient[0] += scale * float((error * logs).sum())
        if shifted:
            gradient[1:] += error.sum(axis=0)
        return value, gradient

    found = minimize(loss, np.zeros(1 + classes * shifted), jac=True, method="L-BFGS-B")
    shift = found.x[1:] - found.x[1:].mean() if shifted else np.zeros(classes)
    return Calibration(float(np.exp(found.x[0])), shift)


def calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Measure the expected calibration error of the most probable class (Naeini et al. 2015).

    In bins of equal mass (at most ``bins``, of at least ten rows each): the mean of |accuracy − confidence|, weighted by the
    bins' rows. Equal width would leave most bins almost empty with a hundred gold rows.

    Returns
    -------
    float
        0 to 1; NaN without rows.
    """
    if len(truth) == 0:
        return float("nan")
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(truth) // 10)))
    return float(sum(abs(right[part].sum() - confidence[part].sum()) for part in parts) / len(truth))
