"""How sure an answer is, and when it is better to say "unsure". NumPy alone: serving imports this."""

from dataclasses import dataclass

import numpy as np

TEMPERATURES = np.geomspace(0.25, 8, 141)
LEAST_ANSWERED = 10
"""Fewer rows than this say nothing about how right the answers above a confidence are."""


@dataclass(frozen=True)
class Threshold:
    """From which confidence on a model answers.

    Attributes
    ----------
    unsure_below : float
        Confidence under which it says "unsure": 0 where it always answers, above 1 where it never does.
    coverage : float
        The share of rows that it answers.
    accuracy : float
        The share of those that it answers right; NaN where it answers none.
    """

    unsure_below: float
    coverage: float
    accuracy: float


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Soften probabilities, or sharpen them; the likeliest class stays the likeliest.

    Parameters
    ----------
    probabilities : np.ndarray
        Of shape ``(rows, classes)``.
    temperature : float
        1 leaves them as they are, above 1 they come nearer to each other (Guo et al. 2017, section 4.2).
    """
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(probabilities, 1e-12)) / temperature
    exponents = np.exp(logs - logs.max(axis=-1, keepdims=True, initial=-np.inf))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature under which the truth is likeliest.

    The truth is held to be 1 - 1 / (rows + 2) sure (Platt 1999, section 2.2): where every row is answered right, the
    likeliest temperature would be 0, and every answer certain.
    """
    rows, classes = probabilities.shape
    if not rows or classes < 2:
        return 1.0
    doubt = 1 / (rows + 2)
    target = np.full((rows, classes), doubt / (classes - 1))
    target[np.arange(rows), truth] = 1 - doubt
    losses = [-(target * np.log(np.maximum(tempered(probabilities, t), 1e-12))).sum() for t in TEMPERATURES]
    return round(float(TEMPERATURES[int(np.argmin(losses))]), 4)


def find_threshold(truth: np.ndarray, probabilities: np.ndarray, accuracy: float | None) -> Threshold:
    """Return the least confidence from which on the answers are as right as asked.

    Parameters
    ----------
    truth : np.ndarray
        Labels, of shape ``(rows,)``.
    probabilities : np.ndarray
        As served, of shape ``(rows, classes)``.
    accuracy : float or None
        Asked of the rows that are answered; None: all are answered.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    so_far = np.cumsum(right[order]) / answered
    if accuracy is None or so_far[-1] >= accuracy:
        return Threshold(0.0, 1.0, float(so_far[-1]))
    sorted_confidence = confidence[order]
    cuttable = np.append(sorted_confidence[:-1] > sorted_confidence[1:], True)  # equally sure rows stand together
    good = np.flatnonzero(cuttable & (so_far >= accuracy) & (answered >= LEAST_ANSWERED))
    if not len(good):
        return Threshold(1.01, 0.0, float("nan"))
    # Down to four digits, as the card keeps it; the row at the cut stays answered.
    return at_threshold(truth, probabilities, float(np.floor(sorted_confidence[good[-1]] * 1e4) / 1e4))


def at_threshold(truth: np.ndarray, probabilities: np.ndarray, unsure_below: float) -> Threshold:
    """Return what a threshold comes to on some rows."""
    answered = probabilities.max(axis=1) >= unsure_below
    right = probabilities.argmax(axis=1) == truth
    accuracy = float(right[answered].mean()) if answered.any() else float("nan")
    return Threshold(unsure_below, float(answered.mean()), accuracy)
