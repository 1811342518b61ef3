"""How often functions agree, and which are near-copies of one another: a copy's vote is no second opinion."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from labeling.label_models.patterns import Patterns

COPY_AGREES = 0.95
"""Share of the common rows on which near-copies vote the same."""
COPY_COVERS = 0.8
"""Share of the rows of either on which near-copies vote the same: two accurate functions agree too, but not on where to vote."""
COPY_ROWS = 10
"""Common rows below which nothing can be said."""
MARGIN = 0.03
"""By how much near-copies agree more often than their accuracies explain."""
CHANCE = 0.001
ONE_CLASS_SHARE = 0.2
WITNESSES = 30
"""Other functions, those with most common rows, that testify to the accuracies of a pair."""


@dataclass(frozen=True)
class Agreement:
    """Counts of common votes of each two functions.

    Attributes
    ----------
    both : np.ndarray
        float64 of shape (functions, functions): rows on which both vote; the diagonal is a function's own.
    same : np.ndarray
        float64 of the same shape: rows on which both vote the same.
    totals : np.ndarray
        float64 of shape (functions, classes): rows on which a function votes for a class.
    """

    both: np.ndarray
    same: np.ndarray
    totals: np.ndarray

    @property
    def one_class(self) -> np.ndarray:
        """Which functions vote for one class only, bool of shape (functions,).

        Those that gave a few votes, all for one class, as they would by chance, are not among them.
        """
        shares = (self.totals.sum(axis=0) + 1) / (self.totals.sum() + self.totals.shape[1])
        by_chance = self.totals.sum(axis=1) * np.log(shares)[self.totals.argmax(axis=1)]
        return ((self.totals > 0).sum(axis=1) == 1) & (by_chance < np.log(CHANCE))

    @property
    def mostly_one_class(self) -> bool:
        """Whether such functions give enough of the votes that the votes do not tell how the classes stand."""
        return bool(self.totals[self.one_class].sum() > ONE_CLASS_SHARE * self.totals.sum())

    def beyond_chance(self) -> np.ndarray:
        """Return ``(classes * agreement - 1) / (classes - 1)``, NaN where too few rows are common.

        Of two functions that err independently and evenly it is the product of the same measure of each one's accuracy.
        """
        classes = self.totals.shape[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            agreement = np.where(self.both >= COPY_ROWS, self.same / self.both, np.nan)
        return (classes * agreement - 1) / max(classes - 1, 1)


def agreement_of(patterns: Patterns) -> Agreement:
    """Count the common votes of each two functions."""
    functions, classes = patterns.functions, patterns.classes
    moments = patterns.moments
    if isinstance(moments, np.ndarray):
        blocks = moments.reshape(functions, classes, functions, classes)
        both, same = blocks.sum(axis=(1, 3)), np.einsum("ivjv->ij", blocks)
        return Agreement(both, same, np.diagonal(moments).reshape(functions, classes).copy())
    found = moments.tocoo()
    one, vote = np.divmod(found.row, classes)
    other, others_vote = np.divmod(found.col, classes)
    shape = (functions, functions)
    alike = vote == others_vote
    return Agreement(
        coo_matrix((found.data, (one, other)), shape=shape).toarray(),
        coo_matrix((found.data[alike], (one[alike], other[alike])), shape=shape).toarray(),
        moments.diagonal().reshape(functions, classes),
    )


def vote_shares(groups: np.ndarray) -> np.ndarray:
    """Return how much of a vote each function has, float64 of shape (functions,): 1, or 1/n for each of n near-copies."""
    return 1.0 / np.bincount(groups, minlength=1)[groups]


def copy_groups(agreement: Agreement) -> np.ndarray:
    """Group near-copies, int32 of shape (functions,): functions with the same number are near-copies of one another.

    Two functions are near-copies if they vote the same on 95 % of their common rows, on 80 % of the rows on which either
    votes, and agree more often than their accuracies explain. What accuracies explain is read off the others: with errors
    independent, ``b(i,j) * b(p,q) = b(i,p) * b(j,q)`` for the agreement b beyond chance (the tetrads of Spearman 1904). Functions
    that vote for one class cannot disagree; of these the rows they choose alone decide.
    """
    rows = np.diagonal(agreement.both)
    either = rows[:, None] + rows[None, :] - agreement.both
    close = (agreement.both >= COPY_ROWS) & (agreement.same >= COPY_AGREES * agreement.both)
    close &= agreement.same >= COPY_COVERS * either
    np.fill_diagonal(close, False)
    copies = np.zeros_like(close)
    beyond, one_class = agreement.beyond_chance(), agreement.one_class
    for i, j in zip(*np.nonzero(np.triu(close)), strict=True):
        if one_class[i] or one_class[j]:
            copies[i, j] = True
            continue
        explained = _explained(beyond, agreement.both, close, int(i), int(j))
        copies[i, j] = np.isnan(explained) or beyond[i, j] > explained + MARGIN
    return connected_components(csr_matrix(copies), directed=False)[1]


def _explained(beyond: np.ndarray, both: np.ndarray, close: np.ndarray, i: int, j: int) -> float:
    """Return the agreement of i and j that independent errors would give, by the median tetrad; NaN without witnesses."""
    others = np.nonzero(~(close[i] | close[j]) & ~np.isnan(beyond[i]) & ~np.isnan(beyond[j]))[0]
    others = others[(others != i) & (others != j)]
    others = others[np.argsort(-both[i, others] - both[j, others], kind="stable")][:WITNESSES]
    with np.errstate(invalid="ignore", divide="ignore"):
        tetrads = beyond[i, others][:, None] * beyond[j, others][None, :] / beyond[np.ix_(others, others)]
    usable = beyond[np.ix_(others, others)] > 0.05
    np.fill_diagonal(usable, False)
    return float(np.median(tetrads[usable])) if usable.any() else float("nan")
