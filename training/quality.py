"""How good a classifier's answers are: accuracy, macro-F1, their intervals, calibration."""

import numpy as np

RESAMPLES = 1000
BINS = 10


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of rows answered right; NaN for no rows."""
    return float(np.mean(truth == predicted)) if len(truth) else float("nan")


def macro_f1(truth: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Return the mean F1 over the classes that occur in truth or answers, as scikit-learn's ``average="macro"``.

    Examples
    --------
    >>> macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), classes=3)  # F1 of 2/3 and 4/5; class 2 is absent
    0.7333333333333334
    """
    if not len(truth):
        return float("nan")
    return float(_macro_f1_of(_confusions(truth[None], predicted[None], classes))[0])


def intervals(truth: np.ndarray, predicted: np.ndarray, classes: int, seed: int) -> dict[str, list[float]]:
    """Return 95 % percentile bootstrap intervals (Efron 1979), over resampled rows.

    Returns
    -------
    dict of str to list of float
        ``accuracy`` and ``macro_f1``: low and high end.
    """
    rows = np.random.default_rng(seed).integers(0, len(truth), size=(RESAMPLES, len(truth)))
    confusions = _confusions(truth[rows], predicted[rows], classes)
    right = np.trace(confusions, axis1=1, axis2=2) / len(truth)
    found = {"accuracy": right, "macro_f1": _macro_f1_of(confusions)}
    return {name: [float(end) for end in np.percentile(values, (2.5, 97.5))] for name, values in found.items()}


def retained_interval(truth: np.ndarray, one: np.ndarray, other: np.ndarray, classes: int, seed: int) -> list[float]:
    """Return the 95 % interval of one's macro-F1 as a share of another's: a paired bootstrap, both on the same resampled rows.

    Parameters
    ----------
    truth, one, other : np.ndarray
        Labels and answers, of shape ``(rows,)``.
    classes : int
        How many labels there are.
    seed : int
        Of the draw.

    Returns
    -------
    list of float
        Low and high end. A resample in which the other scores nothing counts as 1.
    """
    rows = np.random.default_rng(seed).integers(0, len(truth), size=(RESAMPLES, len(truth)))
    drawn = truth[rows]
    ours, theirs = (_macro_f1_of(_confusions(drawn, answers[rows], classes)) for answers in (one, other))
    shares = np.divide(ours, theirs, out=np.ones_like(ours), where=theirs > 0)
    return [float(end) for end in np.percentile(shares, (2.5, 97.5))]


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean gap between confidence and accuracy over ten equal bins of confidence.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2: 0 is perfectly calibrated.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(truth))


def _confusions(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrices of stacked samples, ``(samples, rows)`` to ``(samples, classes, classes)``."""
    samples = np.arange(len(truth))[:, None]
    cells = (samples * classes + truth.astype(np.int64)) * classes + predicted.astype(np.int64)
    return np.bincount(cells.ravel(), minlength=len(truth) * classes**2).reshape(-1, classes, classes)


def _macro_f1_of(confusions: np.ndarray) -> np.ndarray:
    right = np.diagonal(confusions, axis1=1, axis2=2)
    total = confusions.sum(axis=1) + confusions.sum(axis=2)
    scores = np.divide(2 * right, total, out=np.zeros(total.shape), where=total > 0)
    return np.asarray(scores.sum(axis=1) / (total > 0).sum(axis=1))
