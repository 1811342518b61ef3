"""Rows of votes collapse to distinct patterns with counts: what a label model costs, the patterns cost."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from scipy.sparse import csr_matrix

from labeling.functions.vocabulary import ABSTAIN
from ledger.errors import DataError

CHUNK = 65_536
"""Rows worked on at once, so that what is built on the way stays small beside the votes."""

HASH_SEEDS = 8
ZERO = np.zeros(1, dtype=np.uint64)
DENSE_SYMBOLS = 8_192
DENSE_CELLS = 8_388_608
SPARSE_BELOW = 0.002
"""Pairs of votes a cell of the dense product below which the sparse one is the faster, measured on two cores."""


Answer = TypeVar("Answer")


def in_threads(work: Callable[[int], Answer], starts: Iterable[int]) -> list[Answer]:
    """Work on chunks in threads, one a core and at most four: NumPy and SciPy let go of the interpreter while they count."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, starts))


@dataclass(frozen=True)
class Patterns:
    """The distinct rows of a label matrix.

    Attributes
    ----------
    functions, classes : int
        How many vote, and for how many classes.
    counts : np.ndarray
        float64 of shape (patterns,): the rows that each pattern stands for.
    inverse : np.ndarray
        int32 of shape (rows,): the pattern of each row.
    matrix : np.ndarray or None
        int8 of shape (patterns, functions), ABSTAIN for none; None where the votes came as triples.
    triples : csr_matrix or None
        As ``one_hot``; None where the votes came as a matrix.
    """

    functions: int
    classes: int
    counts: np.ndarray
    inverse: np.ndarray
    matrix: np.ndarray | None
    triples: csr_matrix | None = None

    @property
    def height(self) -> int:
        """How many distinct patterns there are."""
        return len(self.counts)

    @cached_property
    def one_hot(self) -> csr_matrix:
        """The votes, sparse float32 of shape (patterns, functions * classes): 1 at ``function * classes + vote``."""
        if self.triples is not None:
            return self.triples
        assert self.matrix is not None
        return one_hot(self.matrix, self.classes)

    @cached_property
    def by_symbol(self) -> csr_matrix:
        """The votes transposed, of shape (functions * classes, patterns)."""
        return self.one_hot.T.tocsr()

    @cached_property
    def moments(self) -> np.ndarray | csr_matrix:
        """How many rows have two votes at once, of shape (functions * classes, functions * classes), counted exactly.

        float64; sparse where the classes times the functions are many.
        """
        return moments(self.one_hot, self.counts)

    @cached_property
    def votes_per_pattern(self) -> np.ndarray:
        """How many functions vote in each pattern, int64 of shape (patterns,)."""
        if self.matrix is not None:
            return (self.matrix != ABSTAIN).sum(axis=1)
        return np.diff(self.one_hot.indptr).astype(np.int64)

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Spread what was computed for each pattern, shape (patterns, …), to the rows."""
        return values[self.inverse]


def collapse(matrix: np.ndarray, classes: int) -> Patterns:
    """Collapse a label matrix to its distinct rows.

    Rows are told apart by a 64-bit hash of their bytes, which is then verified against the rows themselves, and drawn
    anew in the (never seen) case of a collision: `np.unique(axis=0)` sorts whole rows and takes ten times as long.
    The patterns' order does not depend on the rows'.

    Parameters
    ----------
    matrix : np.ndarray
        int8 of shape (rows, functions), ABSTAIN for none.
    classes : int
        How many classes there are.

    Raises
    ------
    DataError
        If a vote is neither ABSTAIN nor the number of a class.
    """
    matrix = np.ascontiguousarray(matrix, dtype=np.int8)
    if matrix.size and not (matrix.min() >= ABSTAIN and matrix.max() < classes):
        raise DataError(
            f"votes go from {matrix.min()} to {matrix.max()}; expected {ABSTAIN} (none) to {classes - 1}; run `vote` again"
        )
    first, inverse, counts = _distinct_rows(matrix)
    return Patterns(matrix.shape[1], classes, counts.astype(np.float64), inverse, matrix[first])


def collapse_triples(
    rows: np.ndarray, functions: np.ndarray, votes: np.ndarray, shape: tuple[int, int], classes: int
) -> Patterns:
    """Collapse votes given as (row, function, vote): for crowds, where most annotators see few rows.

    Parameters
    ----------
    rows, functions, votes : np.ndarray
        int of shape (votes,); a pair of row and function stands once.
    shape : tuple of int
        Rows, functions.
    classes : int
        How many classes there are.

    Raises
    ------
    DataError
        If a pair of row and function stands twice, or a vote is not the number of a class.
    """
    if len(votes) and not (votes.min() >= 0 and votes.max() < classes):
        raise DataError(f"votes go from {votes.min()} to {votes.max()}; expected 0 to {classes - 1}")
    symbols = functions.astype(np.int64) * classes + votes
    order = np.lexsort((symbols, rows))
    rows, symbols, functions = rows[order], symbols[order], functions[order]
    twice = (rows[1:] == rows[:-1]) & (functions[1:] == functions[:-1])
    if twice.any():
        at = int(twice.argmax())
        raise DataError(
            f"function {functions[at]} votes twice on row {rows[at]}; expected one vote of a function on a row"
        )
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    data = np.ones(len(symbols), dtype=np.float32)
    table = csr_matrix((data, symbols.astype(np.int32), indptr), shape=(shape[0], shape[1] * classes))
    first, inverse, counts = _distinct_sparse_rows(table)
    return Patterns(shape[1], classes, counts.astype(np.float64), inverse, None, table[first])


def one_hot(matrix: np.ndarray, classes: int) -> csr_matrix:
    """Lay out a label matrix as `Patterns.one_hot` does, sparse float32 of shape (rows, functions * classes)."""

    def chunk_of(start: int) -> tuple[np.ndarray, np.ndarray]:
        chunk = matrix[start : start + CHUNK]
        row, function = np.nonzero(chunk != ABSTAIN)
        symbols = (function * classes + chunk[row, function]).astype(np.int32)
        return symbols, np.bincount(row, minlength=len(chunk))

    chunks = in_threads(chunk_of, range(0, len(matrix), CHUNK))
    found = [symbols for symbols, _ in chunks]
    lengths = [np.zeros(1, dtype=np.int64), *(many for _, many in chunks)]
    symbols = np.concatenate(found) if found else np.zeros(0, dtype=np.int32)
    indptr = np.cumsum(np.concatenate(lengths))
    if indptr[-1] < np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    shape = (len(matrix), matrix.shape[1] * classes)
    return csr_matrix((np.ones(len(symbols), dtype=np.float32), symbols, indptr), shape=shape)


def moments(hot: csr_matrix, counts: np.ndarray) -> np.ndarray | csr_matrix:
    """Count how often each two votes stand in one row; see `Patterns.moments`."""
    symbols = hot.shape[1]
    pairs = float((np.diff(hot.indptr).astype(np.float64) ** 2).sum())
    if symbols > DENSE_SYMBOLS:
        return csr_matrix(hot.T @ weighted(hot, counts))
    total = np.zeros((symbols, symbols))
    # A sparse product costs a step a pair of votes, a dense one a fraction of that a cell.
    dense = pairs > hot.shape[0] * symbols**2 * SPARSE_BELOW
    step = max(1, min(CHUNK, DENSE_CELLS // max(symbols, 1))) if dense else CHUNK

    def chunk_of(start: int) -> csr_matrix:
        chunk = hot[start : start + step]
        return chunk.T @ weighted(chunk, counts[start : start + step].astype(np.float32))

    if not dense:
        # Sums of whole numbers below 2**24 are exact in float32, and so in any order.
        for product in in_threads(chunk_of, range(0, hot.shape[0], step)):
            total += product.toarray()
        return total
    for start in range(0, hot.shape[0], step):
        table, many = hot[start : start + step].toarray(), counts[start : start + step]
        counted = table if (many == 1).all() else table * many[:, None].astype(np.float32)
        total += table.T @ counted
    return total


def weighted(hot: csr_matrix, counts: np.ndarray) -> csr_matrix:
    """Multiply each row by its count, sharing the indices; float64."""
    if (counts == 1).all():
        return hot
    return csr_matrix((np.repeat(counts, np.diff(hot.indptr)), hot.indices, hot.indptr), shape=hot.shape)


def _mixed(words: np.ndarray, seed: int) -> np.ndarray:
    """Mix uint64 words (splitmix64's finalizer), so that each bit of a word moves half the bits of the answer."""
    mixed = words + np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % 2**64)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _distinct(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _, first, inverse, counts = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    return first, inverse.reshape(-1).astype(np.int32), counts


def _distinct_rows(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first row of each pattern, the pattern of each row, and the rows of each pattern."""
    height, width = matrix.shape
    words = -(-width // 8)
    for seed in range(HASH_SEEDS):
        hashes = np.zeros(height, dtype=np.uint64)
        for start in range(0, height, CHUNK):
            chunk = matrix[start : start + CHUNK]
            padded = np.zeros((len(chunk), words * 8), dtype=np.int8)
            padded[:, :width] = chunk
            read = padded.view(np.uint64)
            mine = hashes[start : start + CHUNK]
            for word in range(words):
                mine[:] = _mixed(mine ^ read[:, word], seed + word)
        first, inverse, counts = _distinct(hashes)
        chunks = [slice(start, start + CHUNK) for start in range(0, height, CHUNK)]
        if all(np.array_equal(matrix[first[inverse[chunk]]], matrix[chunk]) for chunk in chunks):
            return first, inverse, counts
    return np.arange(height), np.arange(height, dtype=np.int32), np.ones(height, dtype=np.int64)


def _distinct_sparse_rows(table: csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_distinct_rows`, of sparse rows whose columns are sorted."""
    height = table.shape[0]
    lengths = np.diff(table.indptr)
    for seed in range(HASH_SEEDS):
        sums = np.concatenate([ZERO, np.cumsum(_mixed(table.indices.astype(np.uint64), seed), dtype=np.uint64)])
        hashes = sums[table.indptr[1:]] - sums[table.indptr[:-1]]
        first, inverse, counts = _distinct(hashes)
        twins = first[inverse]
        if np.array_equal(lengths[twins], lengths):
            shift = np.repeat(table.indptr[:-1][twins] - table.indptr[:-1], lengths)
            if np.array_equal(table.indices[np.arange(len(table.indices)) + shift], table.indices):
                return first, inverse, counts
    return np.arange(height), np.arange(height, dtype=np.int32), np.ones(height, dtype=np.int64)
