"""How labeling functions stand to each other, seen from their votes: dead, duplicate and contradictory ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from labeling.functions.vocabulary import ABSTAIN
from labeling.label_models.agreement import agreement_of
from labeling.label_models.patterns import collapse

DUPLICATE = 0.95
"""Share of the rows on which either of two functions votes, from which the same votes make them duplicates."""

CONTRADICTORY = 0.9
"""Share of the rows on which both vote, from which different votes may make them contradictory."""

LEAST_OVERLAP = 0.25
"""Share of the rarer function's votes that have to be contradicted; topics that meet now and then are no contradiction."""

CHANCE = 0.001
"""Probability of as many contradictions among functions that know nothing of each other, over all pairs (Bonferroni)."""


@dataclass(frozen=True)
class Pair:
    """Two functions and the rows on which they vote.

    Attributes
    ----------
    first, second : int
        Their numbers, the first the smaller.
    both, either : int
        On how many rows both vote, and at least one.
    same : int
        On how many they vote the same.
    """

    first: int
    second: int
    both: int
    either: int
    same: int


def dead_functions(matrix: np.ndarray) -> list[int]:
    """Return the functions that vote on no row of a label matrix, int8 of shape (rows, functions)."""
    return [int(j) for j in np.flatnonzero((matrix == ABSTAIN).all(axis=0))]


def count_pairs(matrix: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, for each pair of functions, the rows on which both vote and on which they agree.

    Parameters
    ----------
    matrix : np.ndarray
        int8 of shape (rows, functions).
    classes : int
        How many labels there are.

    Returns
    -------
    by_class : np.ndarray
        int64 of shape (classes, functions): votes for each class.
    both, same : np.ndarray
        int64 of shape (functions, functions).
    """
    agreement = agreement_of(collapse(matrix, classes))
    return agreement.totals.T.astype(np.int64), agreement.both.astype(np.int64), agreement.same.astype(np.int64)


def duplicate_functions(matrix: np.ndarray, classes: int, share: float = DUPLICATE) -> list[Pair]:
    """Return the pairs whose votes are the same on at least a share of the rows on which either votes."""
    by_class, both, same = count_pairs(matrix, classes)
    votes = by_class.sum(axis=0)
    either = votes[:, None] + votes[None, :] - both
    first, second = np.nonzero(np.triu((either > 0) & (same >= share * either), k=1))
    return _pairs(first, second, both, either, same)


def contradictory_functions(matrix: np.ndarray, classes: int) -> list[Pair]:
    """Return the pairs that meet on more rows than chance would have it, and there nearly always vote differently.

    Two functions for different labels always differ where both vote, so that alone says nothing. What does is how often
    they meet: of functions that know nothing of each other, the rows with different votes are about binomial, with each pair of
    labels as frequent as the product of its shares.
    """
    by_class, both, same = count_pairs(matrix, classes)
    votes, rows = by_class.sum(axis=0), max(len(matrix), 1)
    either = votes[:, None] + votes[None, :] - both
    different = both - same
    by_chance = (votes[:, None] * votes[None, :] - by_class.T @ by_class) / rows**2
    pairs = max(matrix.shape[1] * (matrix.shape[1] - 1) // 2, 1)
    unlikely = binom.sf(different - 1, rows, np.clip(by_chance, 0, 1)) < CHANCE / pairs
    rarer = np.minimum(votes[:, None], votes[None, :])
    found = (different >= CONTRADICTORY * both) & (different >= LEAST_OVERLAP * rarer) & (different > 0) & unlikely
    first, second = np.nonzero(np.triu(found, k=1))
    return _pairs(first, second, both, either, same)


def _pairs(first: Sequence[int] | np.ndarray, second: Sequence[int] | np.ndarray, *counts: np.ndarray) -> list[Pair]:
    return [Pair(int(i), int(j), *(int(count[i, j]) for count in counts)) for i, j in zip(first, second, strict=True)]
