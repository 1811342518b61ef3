"""The format `convolution`: vectors of words, filters over a few of them in a row, the highest answer of each filter (Kim 2014).

Yoon Kim, https://arxiv.org/abs/1408.5882. Unlike a bag it sees in which order words stand. NumPy only, as a bag: no tokenizer is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from training.bag import Answer, Features, extractor
from training.products import product
from training.table_file import TableFile, read_table, rounded, table_bytes


@dataclass(frozen=True)
class Convolution:
    """A convolutional model over words.

    A text's words are rows of the table, and ``window - 1`` rows of zeros stand before and behind. Each filter sees every ``window``
    rows in a row; ``relu(max over places)`` of all filters, times ``linear``, plus ``bias``, are the logits.

    Attributes
    ----------
    longest : int
        Words to which a text is cut.
    window : int
        Words that a filter sees.
    keys : np.ndarray
        The hashes of words that have a row, uint32 of shape ``(rows,)``, ascending. Other words are left out.
    table : np.ndarray
        Float32 of shape ``(rows, width)``.
    head : dict of str to np.ndarray
        Float32: ``filters`` of shape ``(window * width, filters)``, ``thresholds`` of ``(filters,)``, ``linear`` of
        ``(filters, classes)`` and ``bias`` of ``(classes,)``.
    """

    longest: int
    window: int
    keys: np.ndarray
    table: np.ndarray
    head: dict[str, np.ndarray]


def words_of(longest: int) -> Features:
    """Return what a text is taken apart into: words alone, so many at most."""
    return Features(1, (0, 0), longest)


def answer(model: Convolution) -> Answer:
    """Return the function that answers texts; a text's answer depends on no other text."""
    extract, keys, table, edge = extractor(words_of(model.longest)), model.keys, model.table, model.window - 1
    filters, thresholds, linear, bias = (model.head[name] for name in ("filters", "thresholds", "linear", "bias"))
    width, last = table.shape[1], len(keys) - 1

    def run(texts: Sequence[str], _batch_size: int = 0) -> np.ndarray:
        found = np.empty((len(texts), len(thresholds)), dtype=np.float32)
        for number, text in enumerate(texts):
            hashes = extract(text)
            rows = np.minimum(keys.searchsorted(hashes), last)
            rows = rows[keys.take(rows) == hashes]
            words = np.zeros((max(len(rows), 1) + 2 * edge, width), dtype=np.float32)
            words[edge : edge + len(rows)] = table.take(rows, axis=0)
            seen = sliding_window_view(words.ravel(), filters.shape[0])[::width]
            found[number] = product(seen, filters).max(axis=0)
        return product(np.maximum(found + thresholds, 0), linear) + bias

    return run


def as_int8(model: Convolution) -> Convolution:
    """Return the model as it will be once written in int8 and read again."""
    return replace(model, table=rounded(model.table))


def convolution_bytes(model: Convolution, precision: str) -> bytes:
    """Return the model's file; the same model gives the same bytes."""
    settings = {"longest": model.longest, "window": model.window}
    return table_bytes(TableFile(settings, model.keys, model.table, model.head), "convolution", precision)


def read_convolution(path: Path) -> Convolution:
    """Read a model's file; raises what `read_table` raises."""
    file = read_table(path, "convolution")
    return Convolution(file.settings["longest"], file.settings["window"], file.keys, file.table, file.head)
