"""Dawid and Skene's model: one confusion table a function, by EM."""

import numpy as np

from labeling.label_models.agreement import agreement_of, copy_groups, vote_shares
from labeling.label_models.balance import estimated_balance, vote_shares_of_rows
from labeling.label_models.model import LabelModel
from labeling.label_models.patterns import Patterns
from labeling.label_models.softmax import softmax

SMOOTHING = 0.1
ROUNDS = 200
TOLERANCE = 1e-5


def fit_dawid_skene(patterns: Patterns, balance: np.ndarray | None) -> LabelModel:
    """Fit P(vote | class) of each function by EM, from the majority's start.

    Dawid and Skene (1979), sections 2 and 3, on distinct patterns with their counts: given that the function votes, or, where it
    votes for one class only, of all rows. An abstention says nothing, and near-copies share a vote. A stated balance is held.
    Without one it is estimated along, as they do, where functions vote for several classes; where many vote for one class
    only, EM would give every row to the class that votes most, and `estimated_balance` is held.
    """
    classes = patterns.classes
    agreement = agreement_of(patterns)
    shares = vote_shares(copy_groups(agreement))
    counts = patterns.counts * (patterns.votes_per_pattern > 0)
    one_class = agreement.one_class[:, None, None]
    held = balance is not None or agreement.mostly_one_class
    balance = estimated_balance(patterns, shares) if balance is None else balance
    believed = vote_shares_of_rows(patterns, shares)
    weights = np.zeros((patterns.functions, classes, classes))
    for _ in range(ROUNDS):
        mass = believed * counts[:, None]
        if not held:
            balance = (mass.sum(axis=0) + 1) / (mass.sum() + classes)
        table = (patterns.by_symbol @ mass).reshape(weights.shape) + SMOOTHING
        # Where a function votes for one class only, that it votes at all is what tells the classes apart.
        within = np.where(one_class, mass.sum(axis=0) + SMOOTHING * (classes + 1), table.sum(axis=1, keepdims=True))
        weights = np.log(table / within) * shares[:, None, None]
        updated = softmax(patterns.one_hot @ weights.reshape(-1, classes) + np.log(balance))
        moved = np.abs(updated - believed)[counts > 0].max(initial=0.0)
        believed = updated
        if moved < TOLERANCE:
            break
    return LabelModel("dawid_skene", balance, weights)
