"""Snorkel's LabelModel, to the digit, without its dense tables of all rows: training sees moments, moments see patterns."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from labeling.label_models.agreement import agreement_of, copy_groups, vote_shares
from labeling.label_models.model import LabelModel
from labeling.label_models.patterns import Patterns
from ledger.errors import DataError

LEARNING_RATE = 0.01
MOMENTUM = 0.9
PRECISION = 0.7
THIN = 4_096


def fit_snorkel(
    patterns: Patterns, balance: np.ndarray | None, epochs: int, seed: int, learning_rate: float = LEARNING_RATE
) -> LabelModel:
    """Fit Snorkel's LabelModel (Ratner et al. 2019): the conditionals whose second moments are those of the votes.

    Its loss, start, optimizer (gradient descent with momentum), clamps and choice among permuted solutions are those of snorkel
    0.10.0, and so are the probabilities, as long as no two functions are near-copies. Those make a clique here, whose moments are
    masked as the paper masks them, and share a vote. The gradient is written out: with the moments masked within a function,
    ``(O - mu P mu') mu P`` needs no dense product of all functions times all classes, so that 1,200 functions times 56 classes
    fit in memory.

    Parameters
    ----------
    patterns : Patterns
        The votes.
    balance : np.ndarray or None
        float64 of shape (classes,): the classes' shares; None takes them as even, as Snorkel does.
    epochs, seed, learning_rate : int, int, float
        As Snorkel's ``n_epochs``, ``seed`` and ``lr``.

    Raises
    ------
    DataError
        With fewer than three functions, which Snorkel's model needs.
    """
    if patterns.functions < 3:
        raise DataError(
            "Snorkel's label model needs at least 3 labeling functions; add some, or set label.model to majority"
        )
    balance = np.full(patterns.classes, 1 / patterns.classes) if balance is None else balance
    rows = float(patterns.counts.sum())
    groups = copy_groups(agreement_of(patterns))
    table = _conditionals(patterns, groups, balance, rows, epochs, seed, learning_rate)
    shares = vote_shares(groups)
    weights = np.log(table.astype(np.float64)).reshape(patterns.functions, patterns.classes, patterns.classes)
    return LabelModel("snorkel", balance, weights * shares[:, None, None])


def _conditionals(
    patterns: Patterns,
    groups: np.ndarray,
    balance: np.ndarray,
    rows: float,
    epochs: int,
    seed: int,
    learning_rate: float,
) -> np.ndarray:
    """Return P(vote | class), float32 of shape (functions * classes, classes)."""
    functions, classes = patterns.functions, patterns.classes
    moments, propensity = _masked_moments(patterns, groups, rows)
    copies = [clique for clique in _cliques(groups, classes) if len(clique) > classes]
    shares = balance.astype(np.float32)
    start = np.clip(propensity[:, None].reshape(functions, classes) * np.float32(PRECISION) / shares, 0, 1)
    table = np.zeros((functions * classes, classes), dtype=np.float32)
    table[np.arange(functions * classes), np.tile(np.arange(classes), functions)] = start.reshape(-1)
    # Snorkel draws one number, after seeding NumPy's old generator, and scales its start by it.
    table *= np.float32(np.random.RandomState(seed).random_sample())
    # Products this thin gain nothing from a second thread, and wait for it where the machine is busy.
    with threadpool_limits(1 if len(table) <= THIN else None):
        _descend(table, moments, propensity, shares, copies, epochs, learning_rate)
    least = np.float32(min(0.01, 1 / 10 ** np.ceil(np.log10(rows))))
    return _unpermuted(np.clip(table, least, 1 - least), balance)


def _descend(
    table: np.ndarray,
    moments: np.ndarray | csr_matrix,
    propensity: np.ndarray,
    shares: np.ndarray,
    copies: list[np.ndarray],
    epochs: int,
    learning_rate: float,
) -> None:
    """Move the table, in place, down the gradient of Snorkel's loss."""
    classes = len(shares)
    velocity = np.zeros_like(table)
    blocks = (len(table) // classes, classes, classes)
    for epoch in range(epochs):
        scaled = table * shares
        # The gradient of |mask (O - mu P mu')|^2 is -4 mask (O - mu P mu') mu P, since both are symmetric.
        product = table @ (scaled.T @ scaled)
        within = scaled.reshape(blocks)
        own = (table.reshape(blocks) @ (within.transpose(0, 2, 1) @ within)).reshape(table.shape)
        for clique in copies:
            own[clique] = table[clique] @ (scaled[clique].T @ scaled[clique])
        gradient = -4 * (moments @ scaled - product + own)
        gradient += 2 * (scaled.sum(axis=1) - propensity)[:, None] * shares
        velocity = gradient if epoch == 0 else MOMENTUM * velocity + gradient
        table -= np.float32(learning_rate) * velocity


def _cliques(groups: np.ndarray, classes: int) -> list[np.ndarray]:
    """Return the symbols, ``function * classes + vote``, of each group of functions."""
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(groups))[:-1])
    return [(member[:, None] * classes + np.arange(classes)).reshape(-1) for member in members]


def _masked_moments(patterns: Patterns, groups: np.ndarray, rows: float) -> tuple[np.ndarray | csr_matrix, np.ndarray]:
    """Return the second moments of votes with those within a clique left out, and the votes' shares of all rows, float32."""
    classes = patterns.classes
    if isinstance(patterns.moments, np.ndarray):
        moments = (patterns.moments / rows).astype(np.float32)
        propensity = moments.diagonal().copy()
        for clique in _cliques(groups, classes):
            moments[np.ix_(clique, clique)] = 0
        return moments, propensity
    found = patterns.moments.tocoo()
    other = groups[found.row // classes] != groups[found.col // classes]
    data = (found.data[other] / rows).astype(np.float32)
    kept = csr_matrix((data, (found.row[other], found.col[other])), shape=found.shape)
    return kept, (patterns.moments.diagonal() / rows).astype(np.float32)


def _unpermuted(table: np.ndarray, balance: np.ndarray) -> np.ndarray:
    """Choose among solutions that differ by a permutation of classes with equal shares the one that trusts the functions most."""
    classes = len(balance)
    sums = table.reshape(-1, classes, classes).sum(axis=0) * balance.astype(np.float32)
    order = np.arange(classes)
    rounded = np.around(balance.astype(np.float32), 3)
    for share in np.unique(rounded):
        group = np.nonzero(rounded == share)[0]
        if len(group) > 1:
            rows, columns = linear_sum_assignment(-sums[np.ix_(group, group)].T)
            order[group[columns]] = group[rows]
    return table[:, order]
