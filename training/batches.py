"""Orders rows into batches of like length, so that little of a batch is padding."""

from collections.abc import Iterator

import numpy as np


def length_grouped(lengths: np.ndarray, batch_size: int, random: np.random.Generator) -> list[np.ndarray]:
    """Shuffle rows into batches whose rows are about equally long.

    Lengths are jittered by a token or so before sorting, so that batches differ from epoch to epoch.

    Parameters
    ----------
    lengths : np.ndarray
        The tokens of each row, int, of shape (rows,).
    batch_size : int
        Rows a batch; the last one formed may have fewer.
    random : np.random.Generator
        The source of the order.

    Returns
    -------
    list of np.ndarray
        Row numbers, each row once.
    """
    order = np.argsort(lengths * random.uniform(0.8, 1.2, size=len(lengths)), kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [batches[number] for number in random.permutation(len(batches))]


def by_length(lengths: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield row numbers in batches from the shortest rows to the longest, for inference."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
