"""Hierarchical Dawid–Skene on distinct patterns: small annotators and rare classes lean on what is known of all."""

import numpy as np

from labeling.label_models.patterns import Patterns

PRIOR_ACCURACY = 0.7
PRIOR_VOTES = 4.0
TABLE_VOTES = 4.0
ROUNDS = 100
TOLERANCE = 1e-4


def hierarchical(patterns: Patterns, balance: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the classes of patterns by EM, each function's table shrunk to its accuracy, that to the population's.

    Functions that vote for several classes get a confusion table given that they vote (Dawid and Skene 1979); those that vote
    for one class only, whose confusion says nothing, the precision of their vote. Where there are such functions, the
    classes' shares of the covered rows are held (at ``balance``, or at the majority's), or EM would give every row to one class.

    Parameters
    ----------
    patterns : Patterns
        The votes.
    balance : np.ndarray or None
        float64 of shape (classes,): the classes' shares; None estimates them.

    Returns
    -------
    probabilities : np.ndarray
        float64 of shape (patterns, classes); the balance where no function votes. ``patterns.rows`` spreads them to the rows.
    weights : np.ndarray
        float64 of shape (functions, classes, classes): ``[j, v, y]`` is what a vote v of function j adds to the log odds of y.
    """
    hot, classes, functions = patterns.one_hot, patterns.classes, patterns.functions
    voted = patterns.votes_per_pattern > 0
    counts = patterns.counts * voted
    by_symbol = hot.T.tocsr()
    totals = (by_symbol @ patterns.counts).reshape(functions, classes)
    one_class = (totals > 0).sum(axis=1) <= 1
    votes = np.asarray(hot @ np.tile(np.eye(classes), (functions, 1)))
    shares = np.full(classes, 1 / classes) if balance is None else np.asarray(balance, dtype=np.float64)
    believed = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1.0)
    held = balance is not None or bool(one_class.any())
    if balance is None and one_class.any():
        shares = _shares(believed, counts)
    offsets, weights = np.log(shares), np.zeros((functions, classes, classes))
    for _ in range(ROUNDS):
        seen = (by_symbol @ (believed * counts[:, None])).reshape(functions, classes, classes)
        if not held:
            shares = _shares(believed, counts)
            offsets = np.log(shares)
        weights = _weights(seen, totals, shares, one_class)
        scores = hot @ weights.reshape(functions * classes, classes)
        if one_class.any():
            offsets = _offsets(scores, offsets, shares, counts)
        updated = _normalized(scores + offsets)
        moved = np.abs(updated - believed)[voted].max(initial=0.0)
        believed = updated
        if moved < TOLERANCE:
            break
    return np.where(voted[:, None], believed, shares), weights


def _shares(believed: np.ndarray, counts: np.ndarray) -> np.ndarray:
    mass = (believed * counts[:, None]).sum(axis=0) + 1.0
    return mass / mass.sum()


def _normalized(scores: np.ndarray) -> np.ndarray:
    likelihood = np.exp(scores - scores.max(axis=1, keepdims=True))
    return likelihood / likelihood.sum(axis=1, keepdims=True)


def _offsets(scores: np.ndarray, offsets: np.ndarray, shares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    for _ in range(20):
        step = np.log(shares) - np.log(_shares(_normalized(scores + offsets), counts))
        offsets = offsets + step
        if np.abs(step).max() < 1e-4:
            break
    return offsets - np.log(np.exp(offsets).sum())


def _weights(seen: np.ndarray, totals: np.ndarray, shares: np.ndarray, one_class: np.ndarray) -> np.ndarray:
    classes = len(shares)
    own = np.eye(classes)
    accuracy = np.zeros(len(seen))
    for kind in (one_class, ~one_class):
        right, all_votes = np.einsum("jvv->j", seen[kind]), totals[kind].sum(axis=1)
        mean = (right.sum() + PRIOR_ACCURACY * PRIOR_VOTES) / (all_votes.sum() + PRIOR_VOTES)
        accuracy[kind] = (right + PRIOR_VOTES * mean) / (all_votes + PRIOR_VOTES)
    accuracy = np.clip(accuracy, 1e-3, 1 - 1e-3)[:, None, None]
    others = np.where(own > 0, 0.0, np.tile(shares, (classes, 1)))
    others /= others.sum(axis=1, keepdims=True)
    precision = (seen + TABLE_VOTES * (accuracy * own + (1 - accuracy) * others)) / (totals[:, :, None] + TABLE_VOTES)
    even = (1 - own) / max(classes - 1, 1)
    confusion = (seen + TABLE_VOTES * (accuracy * own + (1 - accuracy) * even)) / (
        seen.sum(axis=1, keepdims=True) + TABLE_VOTES
    )
    return np.where(one_class[:, None, None], np.log(precision / shares), np.log(confusion))
