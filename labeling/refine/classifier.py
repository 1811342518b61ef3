"""A text classifier that tells each row's class without having learned from that row, in closed form."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from labeling.label_models.softmax import softmax

CHUNK = 16_384
"""Rows worked on at once: what is built on the way stays small beside the features."""

INTERCEPT_PENALTY = 1e-3
SLOPES = (0.5, 30.0)
OFFSETS = (-8.0, 8.0)
CLOSEST = 1e-3
"""1 less a row's leverage is at least this: a row that decides its own fit says nothing."""


def leave_one_out(features: np.ndarray, targets: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
    """Predict each row's class from the other rows, without fitting once a row.

    Ridge regression on the targets, whose leave-one-out residuals are known in closed form (Hastie, Tibshirani, Friedman 2009,
    section 7.10, equation 7.64), then a softmax of its scores whose slope and offsets are fitted to the targets.

    Parameters
    ----------
    features : np.ndarray
        float of shape (rows, features).
    targets : np.ndarray
        float64 of shape (rows, classes): the probabilities believed so far.
    weights : np.ndarray
        float64 of shape (rows,), at least 0; a row of weight 0 is predicted, not learned from.
    penalty : float
        Of the ridge, above 0.

    Returns
    -------
    np.ndarray
        float64 of shape (rows, classes); rows sum to 1.
    """
    return _as_probabilities(leave_one_out_scores(features, targets, weights, penalty), targets, weights)


def leave_one_out_scores(features: np.ndarray, targets: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
    """Return what a ridge regression fitted without a row says of it, for every row, float64 of the targets' shape."""
    chunks = [slice(start, start + CHUNK) for start in range(0, len(features), CHUNK)]
    width = features.shape[1] + 1
    gram, moment = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
    for chunk in chunks:
        x = _with_intercept(features[chunk])
        weighted = x * weights[chunk, None]
        gram += x.T @ weighted
        moment += weighted.T @ targets[chunk]
    gram[np.diag_indices(width)] += np.append(np.full(width - 1, penalty), INTERCEPT_PENALTY)
    factor = cho_factor(gram, lower=True)
    coefficients = cho_solve(factor, moment)
    scores = np.empty_like(targets)
    for chunk in chunks:
        x = _with_intercept(features[chunk])
        leverage = (solve_triangular(factor[0], x.T, lower=True) ** 2).sum(axis=0) * weights[chunk]
        own = leverage[:, None] * targets[chunk]
        scores[chunk] = (x @ coefficients - own) / np.maximum(1 - leverage, CLOSEST)[:, None]
    return scores


def _with_intercept(features: np.ndarray) -> np.ndarray:
    return np.hstack([features.astype(np.float64), np.ones((len(features), 1))])


def _as_probabilities(scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    learned = weights > 0
    seen, wanted, weight = scores[learned], targets[learned], weights[learned, None]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        probabilities = softmax(seen * values[0] + values[1:])
        lost = -(weight * wanted * np.log(np.maximum(probabilities, 1e-12))).sum() + 0.5 * (values[1:] ** 2).sum()
        slope = weight * (probabilities - wanted)
        return lost, np.append((slope * seen).sum(), slope.sum(axis=0) + values[1:])

    start = np.append(4.0, np.zeros(scores.shape[1]))
    bounds = [SLOPES, *([OFFSETS] * scores.shape[1])]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 50}).x
    return softmax(scores * found[0] + found[1:])
