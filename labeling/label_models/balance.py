"""The classes' shares, where nobody states them."""

import numpy as np

from labeling.label_models.patterns import Patterns

EVEN_SHARE = 0.2


def estimated_balance(patterns: Patterns, shares: np.ndarray, stated: np.ndarray | None = None) -> np.ndarray:
    """Estimate the classes' shares of the covered rows: what the votes say, mixed with what is stated (half), or even (a fifth).

    Where functions vote for one class only, votes tell how much they cover rather than how the classes stand, and an
    estimate that follows them freely gives every row to one class in the end. A Dirichlet prior a
    quarter as heavy as the covered rows bounds each share from below by a fifth of its even share.

    Parameters
    ----------
    patterns : Patterns
        The votes.
    shares : np.ndarray
        float64 of shape (functions,): see `labeling.label_models.agreement.vote_shares`.
    stated : np.ndarray or None
        float64 of shape (classes,): the classes' shares of all rows. Those of the covered rows differ from them by what the
        functions look for, which the votes tell.

    Returns
    -------
    np.ndarray
        float64 of shape (classes,), sums to 1.
    """
    classes = patterns.classes
    said = vote_shares_of_rows(patterns, shares)
    covered = float(patterns.counts[patterns.votes_per_pattern > 0].sum())
    prior = EVEN_SHARE / (1 - EVEN_SHARE) * np.full(classes, 1 / classes) if stated is None else stated
    mass = patterns.counts @ said + max(covered, 1.0) * prior
    return mass / mass.sum()


def vote_shares_of_rows(patterns: Patterns, shares: np.ndarray) -> np.ndarray:
    """Return each class's share of a pattern's votes, float64 of shape (patterns, classes); zeros where nobody votes."""
    votes = patterns.one_hot @ np.kron(shares[:, None], np.eye(patterns.classes))
    return votes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
