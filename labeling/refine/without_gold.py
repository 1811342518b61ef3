"""Votes and texts correct each other: no gold needed.

An EM over the unknown labels in the manner of Raykar et al. (2010, "Learning from crowds", section 2), in which the classifier of
the E-step never saw the row it speaks of. One number a function and class is learned, how far its votes are
believed, and pulled to what the breadth of its votes alone makes likely: a function that votes for one class on most rows cannot
be right on more of them than the class has.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import beta

from labeling.functions import ABSTAIN
from labeling.label_models.patterns import one_hot
from labeling.label_models.softmax import softmax
from labeling.refine.classifier import leave_one_out

PENALTY = 2.0
ROUNDS = 6
ROUNDS_OF_VOTES = 3
"""EM rounds on the votes alone, before the texts are heard."""
LIKELY_ACCURACY = 0.75
"""Of a vote of a function that is no broader than its class."""
ABOVE_CHANCE = 0.2
"""No vote is believed less than this share of the way from chance to certainty: what a person wrote means something."""
HIGHEST = 0.99
PRIOR_VOTES = 10.0
PRIOR_SHARE = 0.4
"""The prior counts as ten votes and four tenths of the function's own."""
SHARE_SPREAD = 4.0
"""A class's share is taken to be Beta(4, 4 (classes - 1)) where nothing is known of it."""
UNCOVERED_WEIGHT = 0.5
TO_EQUAL = 0.1
"""How far the texts' class shares are drawn to equal ones, on the log scale."""
LEAST = 1e-5


@dataclass(frozen=True)
class Ballots:
    """The votes in the shape that the EM reads.

    Attributes
    ----------
    hot : csr_matrix
        float32 of shape (rows, functions * classes): 1 at ``function * classes + vote``.
    classes : int
        How many classes there are.
    voters : np.ndarray
        int64 of shape (rows,): how many functions vote on the row.
    """

    hot: csr_matrix
    classes: int
    voters: np.ndarray

    @property
    def voted(self) -> np.ndarray:
        """The class that each column of ``hot`` votes for, int64 of shape (functions * classes,)."""
        return np.arange(self.hot.shape[1]) % self.classes

    @cached_property
    def votes(self) -> np.ndarray:
        """How many votes each column of ``hot`` holds, float32 of shape (functions * classes,)."""
        return np.asarray(self.hot.sum(axis=0)).ravel()


def ballots_of(matrix: np.ndarray, classes: int) -> Ballots:
    """Lay out a label matrix, int8 of shape (rows, functions), ABSTAIN for none."""
    return Ballots(one_hot(matrix, classes), classes, (matrix != ABSTAIN).sum(axis=1))


def refine_without_gold(matrix: np.ndarray, features: np.ndarray, classes: int) -> np.ndarray:
    """Return the probability of each class for each row, from its votes and its text.

    Parameters
    ----------
    matrix : np.ndarray
        int8 of shape (rows, functions), ABSTAIN for none; at least one vote.
    features : np.ndarray
        float32 of shape (rows, features), as `labeling.features.text_features` makes them.
    classes : int
        How many classes there are.

    Returns
    -------
    np.ndarray
        float64 of shape (rows, classes); rows sum to 1, those that no function covers included.
    """
    ballots = ballots_of(matrix, classes)
    covered = ballots.voters > 0
    prior = likely_accuracy(ballots)
    accuracy = prior
    believed = softmax(vote_scores(ballots, accuracy))
    # A row with one vote says nothing of that vote until its text is heard.
    together = (ballots.voters > 1).astype(np.float64)
    for _ in range(ROUNDS_OF_VOTES):
        accuracy = _accuracy(ballots, believed, together, _shares(believed, covered), prior)
        believed = softmax(vote_scores(ballots, accuracy))
    everywhere = np.ones(len(matrix))
    for round_number in range(ROUNDS):
        weights = np.where(covered, 1.0, UNCOVERED_WEIGHT if round_number else 0.0)
        text = leave_one_out(features, believed, weights, PENALTY)
        heard = np.log(np.maximum(text, LEAST)) - TO_EQUAL * np.log(text.mean(axis=0))
        believed = softmax(vote_scores(ballots, accuracy) + heard)
        accuracy = _accuracy(ballots, believed, everywhere, _shares(believed, everywhere), prior)
        believed = softmax(vote_scores(ballots, accuracy) + heard)
    return believed


def likely_accuracy(ballots: Ballots) -> np.ndarray:
    """Guess from a function's breadth alone how often its votes for a class are right, float64 of shape (functions * classes,).

    With s, the class's unknown share, and r, the share of rows it gets votes on, at most min(s / r, 1) of them can be right.
    """
    classes = ballots.classes
    middle = (np.arange(400) + 0.5) / 400
    shares = beta.ppf(middle, SHARE_SPREAD, SHARE_SPREAD * (classes - 1))
    breadth = ballots.votes / max(ballots.hot.shape[0], 1)
    most = np.minimum(shares[None, :] / np.maximum(breadth, 1e-9)[:, None], 1).mean(axis=1)
    return np.maximum(LIKELY_ACCURACY * most, _lowest(classes))


def vote_scores(ballots: Ballots, accuracy: np.ndarray) -> np.ndarray:
    """Add up the votes' log odds, float64 of shape (rows, classes)."""
    odds = np.log(accuracy * (ballots.classes - 1) / (1 - accuracy))
    columns = np.arange(len(odds))
    table = csr_matrix((odds, (columns, ballots.voted)), shape=(len(odds), ballots.classes))
    return (ballots.hot @ table).toarray()


def _lowest(classes: int) -> float:
    return 1 / classes + ABOVE_CHANCE * (1 - 1 / classes)


def _shares(believed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # The root: half way between the shares believed and equal ones, on the log scale.
    shares = np.sqrt(np.average(believed, axis=0, weights=weights) + 1e-3)
    return shares / shares.sum()


def _accuracy(
    ballots: Ballots, believed: np.ndarray, weights: np.ndarray, shares: np.ndarray, prior: np.ndarray
) -> np.ndarray:
    """Update how often each vote is right, had the classes equal shares, float64 of shape (functions * classes,)."""
    found = ballots.hot.T @ (believed * weights[:, None])
    votes = ballots.hot.T @ weights
    balanced = found / shares
    total = balanced.sum(axis=1)
    own = balanced[np.arange(len(found)), ballots.voted]
    right = np.where(total > 0, own / np.maximum(total, 1e-12), prior)
    counted = PRIOR_VOTES + PRIOR_SHARE * ballots.votes
    return np.clip((right * votes + prior * counted) / (votes + counted), _lowest(ballots.classes), HIGHEST)
