"""The classes' shares, where nobody states them."""

import numpy as np

from labeling.label_models.patterns import Patterns


def estimated_balance(patterns: Patterns, shares: np.ndarray) -> np.ndarray:
    """Estimate the classes' shares from votes: half of what the votes say, half even.

    Where functions vote for one class only, votes tell how much they cover rather than how the classes stand, and an
    estimate that follows them freely gives every row to one class in the end. A Dirichlet prior as heavy as the covered rows
    bounds each share from below by half of its even share.

    Parameters
    ----------
    patterns : Patterns
        The votes.
    shares : np.ndarray
        float64 of shape (functions,): see `labeling.label_models.agreement.vote_shares`.

    Returns
    -------
    np.ndarray
        float64 of shape (classes,), sums to 1.
    """
    classes = patterns.classes
    said = vote_shares_of_rows(patterns, shares)
    covered = float(patterns.counts[patterns.votes_per_pattern > 0].sum())
    mass = patterns.counts @ said + max(covered, 1.0) / classes
    return mass / mass.sum()


def vote_shares_of_rows(patterns: Patterns, shares: np.ndarray) -> np.ndarray:
    """Return each class's share of a pattern's votes, float64 of shape (patterns, classes); zeros where nobody votes."""
    votes = patterns.one_hot @ np.kron(shares[:, None], np.eye(patterns.classes))
    return votes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
