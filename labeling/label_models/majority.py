"""Majority vote, each function's vote the same, and weighted by how often the others agree with it."""

import numpy as np

from labeling.label_models.agreement import agreement_of, copy_groups, vote_shares
from labeling.label_models.balance import estimated_balance
from labeling.label_models.model import LabelModel
from labeling.label_models.patterns import Patterns

PRIOR_ACCURACY = 0.7
PRIOR_VOTES = 10.0
HIGHEST = 0.99


def fit_majority(patterns: Patterns, balance: np.ndarray | None) -> LabelModel:
    """Fit nothing but near-copies, who share a vote: the probabilities are the classes' shares of a row's votes."""
    shares = vote_shares(copy_groups(agreement_of(patterns)))
    balance = estimated_balance(patterns, shares) if balance is None else balance
    return LabelModel("majority", balance, shares[:, None, None] * np.eye(patterns.classes))


def fit_weighted_majority(patterns: Patterns, balance: np.ndarray | None) -> LabelModel:
    """Weight each function by the log odds of its accuracy, the share of the other votes on its rows that agree with it.

    The weight is that of Nitzan and Paroush (1982), ``log(a (classes - 1) / (1 - a))``, errors being spread evenly. The accuracies
    are shrunk to their mean. Without a stated balance the classes start even.
    """
    classes = patterns.classes
    groups = copy_groups(agreement_of(patterns))
    shares = vote_shares(groups)
    agreeing, others = _others(patterns, groups, shares)
    mean = (agreeing.sum() + PRIOR_ACCURACY * PRIOR_VOTES) / (others.sum() + PRIOR_VOTES)
    accuracy = (agreeing + mean * PRIOR_VOTES) / (others + PRIOR_VOTES)
    started = np.full(classes, 1 / classes) if balance is None else balance
    return LabelModel("weighted_majority", started, accuracy_weights(accuracy, shares, classes))


def accuracy_weights(accuracy: np.ndarray, shares: np.ndarray, classes: int) -> np.ndarray:
    """Return the weights of votes with one accuracy a function, float64 of shape (functions, classes, classes)."""
    accuracy = np.clip(accuracy, 1e-3, HIGHEST)
    odds = np.log(accuracy * max(classes - 1, 1) / (1 - accuracy))
    return (odds * shares)[:, None, None] * np.eye(classes)


def _others(patterns: Patterns, groups: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count for each function the rows where others vote too, near-copies aside, and the share of their votes that agree."""
    hot, classes = patterns.one_hot, patterns.classes
    lay_out = np.kron(shares[:, None], np.eye(classes))
    votes = hot @ lay_out
    agreed, seen = np.zeros(patterns.functions), np.zeros(patterns.functions)
    alone = shares == 1
    for group in [None, *np.unique(groups[~alone])]:
        mine = alone if group is None else groups == group
        row = np.repeat(np.arange(patterns.height), np.diff(hot.indptr))
        function, vote = np.divmod(hot.indices, classes)
        kept = mine[function]
        row, function, vote = row[kept], function[kept], vote[kept]
        if group is None:
            others, alike = votes.sum(axis=1)[row] - 1, votes[row, vote] - 1
        else:
            left = votes - hot @ (lay_out * np.repeat(mine, classes)[:, None])
            others, alike = left.sum(axis=1)[row], left[row, vote]
        counted = (others > 1e-9) * patterns.counts[row]
        share = alike / np.maximum(others, 1e-9)
        agreed += np.bincount(function, share * counted, patterns.functions)
        seen += np.bincount(function, counted, patterns.functions)
    return agreed, seen
