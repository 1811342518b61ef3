"""The triplet method: each function's accuracy in closed form, from how it varies together with two others."""

from collections.abc import Callable

import numpy as np

from labeling.label_models.agreement import agreement_of, copy_groups, vote_shares
from labeling.label_models.balance import estimated_balance
from labeling.label_models.model import LabelModel
from labeling.label_models.patterns import Patterns

PARTNERS = 30
"""Functions, those that vote most often along with it, that form the triplets of one."""
NOISE = 2.0
"""Standard errors above which a covariance shows something."""
ASSUMED_ACCURACY = 0.7
PRIOR_VOTES = 10.0


def fit_triplet(patterns: Patterns, balance: np.ndarray | None) -> LabelModel:
    """Fit P(vote | class) by the closed form of FlyingSquid (Fu et al. 2020, section 3, algorithm 1), a class against the rest.

    With x the indicator that a function votes for a class, and functions independent given the class,
    ``cov(x_i, x_j) = p (1 - p) d_i d_j`` with ``d = P(x | class) - P(x | rest)``; three functions give each d. FlyingSquid takes the
    moments of votes in {-1, 0, 1} uncentered, which asks for even classes; centered, the same holds for any balance and
    for functions that vote for one class only. Of all triplets the median counts, and those whose third side shows nothing
    are left out; a d without a triplet is what an accuracy of 70 % gives.
    """
    functions, classes = patterns.functions, patterns.classes
    agreement = agreement_of(patterns)
    groups = copy_groups(agreement)
    shares = vote_shares(groups)
    balance = estimated_balance(patterns, shares) if balance is None else balance
    rows = max(float(patterns.counts.sum()), 1.0)
    propensity = agreement.totals / rows
    covariance = _covariances(patterns, propensity, rows)
    table = np.empty((functions, classes, classes))
    for y in range(classes):
        spread = float(balance[y] * (1 - balance[y]))
        voting = np.nonzero(propensity[:, y])[0]
        gap = -propensity * ASSUMED_ACCURACY
        gap[:, y] = propensity[:, y] * (ASSUMED_ACCURACY - balance[y]) / spread
        noise = NOISE * np.sqrt(np.outer(propensity[voting, y], propensity[voting, y]) / rows)
        gap[voting, y] = _gaps(
            covariance(voting, y, voting, y) / spread, noise / spread, groups[voting], gap[voting, y]
        )
        for v in range(classes):
            against = np.nonzero(propensity[:, v])[0]
            if v != y and len(voting) and len(against):
                other = groups[against][:, None] != groups[voting][None, :]
                size = other @ gap[voting, y] ** 2
                fitted = (
                    (covariance(against, v, voting, y) * other) @ gap[voting, y] / (spread * np.maximum(size, 1e-12))
                )
                gap[against, v] = np.where(size > 0, fitted, gap[against, v])
        # A vote can be given no more often within a class than it is given at all.
        chances = np.clip(propensity + (1 - balance[y]) * gap, 0.0, propensity / balance[y])
        table[:, :, y] = chances + PRIOR_VOTES / (rows * classes)
    weights = np.log(table) - np.log(table.mean(axis=2, keepdims=True))
    return LabelModel("triplet", balance, weights * shares[:, None, None])


def _covariances(
    patterns: Patterns, propensity: np.ndarray, rows: float
) -> Callable[[np.ndarray, int, np.ndarray, int], np.ndarray]:
    """Return the covariances of (functions voting v) with (functions voting y), float64 of shape (one, other)."""
    moments, classes = patterns.moments, patterns.classes

    def between(one: np.ndarray, v: int, other: np.ndarray, y: int) -> np.ndarray:
        if isinstance(moments, np.ndarray):
            joint = moments[np.ix_(one * classes + v, other * classes + y)]
        else:
            joint = moments[one * classes + v][:, other * classes + y].toarray()
        return joint / rows - np.outer(propensity[one, v], propensity[other, y])

    return between


def _gaps(scaled: np.ndarray, noise: np.ndarray, groups: np.ndarray, assumed: np.ndarray) -> np.ndarray:
    """Return d of each function by the median of its triplets, signed as most of its covariances are.

    ``scaled`` is the covariance over p (1 - p), so that a triplet gives ``d_i² = scaled_ij scaled_ik / scaled_jk``.
    """
    found = assumed.copy()
    for i in range(len(scaled)):
        others = np.nonzero(groups != groups[i])[0]
        others = others[np.argsort(-np.abs(scaled[i, others]), kind="stable")][:PARTNERS]
        third = scaled[np.ix_(others, others)]
        usable = (third > noise[np.ix_(others, others)]) & (groups[others][:, None] != groups[others][None, :])
        if usable.any():
            squares = np.outer(scaled[i, others], scaled[i, others])[usable] / third[usable]
            found[i] = np.sqrt(max(float(np.median(squares)), 0.0)) * (1.0 if scaled[i, others].sum() >= 0 else -1.0)
    return found
