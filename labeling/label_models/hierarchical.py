"""The project's own label model: Dawid-Skene whose tables lean on each function's accuracy, and that on all functions'."""

import numpy as np

from labeling.label_models.agreement import agreement_of, copy_groups, vote_shares
from labeling.label_models.balance import estimated_balance, vote_shares_of_rows
from labeling.label_models.model import LabelModel
from labeling.label_models.patterns import Patterns, one_hot
from labeling.label_models.softmax import softmax

PRIOR_ACCURACY = 0.7
PRIOR_VOTES = 8.0
"""Votes that the mean accuracy of all functions weighs against a function's own."""
TABLE_VOTES = 8.0
TABLE_SHARE = 1.0
"""A function's table is shrunk to its accuracy by 8 votes and by as many as it has."""
GOLD_ROWS = 5.0
DEPENDENCE = 0.2
"""By how much votes on a row are taken to err together; on crowds and keyword functions of known truth, none of them in the
benchmarks of label quality, it lowers the calibration error everywhere, and no gold is needed."""
HIGHEST = 0.99
ROUNDS = 100
HELD_ROUNDS = 3
"""Rounds where most functions vote for one class: their few common rows tell little, and EM goes on to believe each vote more
because it believed it before."""
TOLERANCE = 1e-4


def fit_hierarchical(
    patterns: Patterns, balance: np.ndarray | None, gold: tuple[np.ndarray, np.ndarray] | None = None
) -> LabelModel:
    """Fit a table a function by EM (maximum a posteriori), shrunk to its accuracy, that to the mean of all functions.

    Functions that vote for several classes get P(vote | class) given that they vote (Dawid and Skene 1979, with the hierarchy of
    Kim and Ghahramani 2012); for those that vote for one class only, whose confusion says nothing, it is the precision of the
    vote. Near-copies share a vote. Where functions of one class give many of the votes, EM is stopped after three rounds and
    the offsets are adapted so that the covered rows' classes add up to `estimated_balance`; else a stated balance
    is what rows start from, and without one the classes start even.

    Parameters
    ----------
    patterns : Patterns
        The votes.
    balance : np.ndarray or None
        float64 of shape (classes,): the classes' shares; None where they are not known.
    gold : tuple of np.ndarray or None
        Votes, int8 of shape (gold rows, functions), and right classes, int64 of shape (gold rows,), of rows that are not among
        the patterns: they are counted into the tables with their classes held, each as ``GOLD_ROWS`` rows.
    """
    classes = patterns.classes
    agreement = agreement_of(patterns)
    shares = vote_shares(copy_groups(agreement))
    counts = patterns.counts * (patterns.votes_per_pattern > 0)
    one_class, held = agreement.one_class, agreement.mostly_one_class
    # What EM starts from and, where it is held to it, ends with: the shares of the covered rows.
    covered = np.full(classes, 1 / classes) if balance is None else balance
    if held:
        covered = estimated_balance(patterns, shares, balance)
    balance = covered if balance is None else balance
    known = known_votes(gold, patterns) * GOLD_ROWS
    totals = agreement.totals + known.sum(axis=2)
    believed = vote_shares_of_rows(patterns, shares)
    offsets = np.log(covered)
    weights = np.zeros((patterns.functions, classes, classes))
    for _ in range(HELD_ROUNDS if held else ROUNDS):
        seen = (patterns.by_symbol @ (believed * counts[:, None])).reshape(weights.shape) + known
        weights = _weights(seen, totals, covered, one_class) * shares[:, None, None]
        scores = patterns.one_hot @ weights.reshape(-1, classes)
        if held:
            offsets = _offsets(scores, offsets, covered, counts)
        updated = softmax(scores + offsets)
        moved = np.abs(updated - believed)[counts > 0].max(initial=0.0)
        believed = updated
        if moved < TOLERANCE:
            break
    return LabelModel("hierarchical", balance, weights, offsets, DEPENDENCE)


def known_votes(gold: tuple[np.ndarray, np.ndarray] | None, patterns: Patterns) -> np.ndarray:
    """Count votes by right class on gold rows, float64 of shape (functions, classes, classes)."""
    classes = patterns.classes
    if gold is None:
        return np.zeros((patterns.functions, classes, classes))
    hot, right = one_hot(gold[0], classes), np.eye(classes)[gold[1]]
    return np.asarray(hot.T @ right).reshape(patterns.functions, classes, classes)


def _offsets(scores: np.ndarray, offsets: np.ndarray, balance: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Adapt the scores before any vote until the covered rows' classes add up to the balance."""
    for _ in range(20):
        mass = counts @ softmax(scores + offsets) + 1.0
        step = np.log(balance) - np.log(mass / mass.sum())
        offsets = offsets + step
        if np.abs(step).max() < 1e-4:
            break
    return offsets - np.log(np.exp(offsets).sum())


def _weights(seen: np.ndarray, totals: np.ndarray, balance: np.ndarray, one_class: np.ndarray) -> np.ndarray:
    """Return what each vote adds to each class's log odds, float64 of shape (functions, classes, classes)."""
    classes = len(balance)
    own = np.eye(classes)
    votes = totals.sum(axis=1)
    accuracy = np.zeros(len(seen))
    for kind in (one_class, ~one_class):
        right = np.einsum("jvv->j", seen[kind])
        mean = (right.sum() + PRIOR_ACCURACY * PRIOR_VOTES) / (votes[kind].sum() + PRIOR_VOTES)
        # Half of what a one-class function is believed comes from all of them, however often it votes.
        weight = PRIOR_VOTES + votes[kind] * (kind is one_class)
        accuracy[kind] = (right + weight * mean) / (votes[kind] + weight)
    accuracy = np.clip(accuracy, 1e-3, HIGHEST)[:, None, None]
    others = np.where(own > 0, 0.0, balance)
    others /= np.maximum(others.sum(axis=1, keepdims=True), 1e-12)
    heavy = TABLE_VOTES + TABLE_SHARE * totals[:, :, None]
    precision = seen + heavy * (accuracy * own + (1 - accuracy) * others)
    precision /= totals[:, :, None] + heavy
    weight = (TABLE_VOTES + TABLE_SHARE * votes)[:, None, None]
    even = (1 - own) / max(classes - 1, 1)
    confusion = seen + weight * (accuracy * own + (1 - accuracy) * even)
    confusion /= seen.sum(axis=1, keepdims=True) + weight
    return np.where(one_class[:, None, None], np.log(precision / balance), np.log(confusion))
