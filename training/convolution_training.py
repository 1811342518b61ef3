"""Trains a convolutional model over words on a teacher's answers, in NumPy and SciPy as a bag is: a step touches few rows of the table."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field
from scipy.sparse import csr_matrix

from ledger.parameters import Parameters
from training.bag_training import Adam, Lesson, batches, table_rows
from training.convolution import Convolution, words_of
from training.runtime import softmax


class ConvolutionParameters(Parameters):
    """How one is built and trained: an entry of ``substitute.models`` of ``params.yaml`` that says ``kind: convolution``."""

    kind: Literal["convolution"]
    width: int = Field(ge=1)
    window: int = Field(ge=1)
    filters: int = Field(ge=1)
    rows: int = Field(ge=1)
    min_count: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)


@dataclass(frozen=True)
class Seen:
    """What the filters saw in a batch.

    Attributes
    ----------
    windows : np.ndarray
        Float32 of shape ``(batch * places, window * width)``.
    place : np.ndarray
        Where each filter's highest answer is, a row of ``windows``, int of shape ``(batch, filters)``.
    pooled : np.ndarray
        That answer, after its threshold and the ReLU, float32 of shape ``(batch, filters)``.
    """

    windows: np.ndarray
    place: np.ndarray
    pooled: np.ndarray


def train_convolution(
    lesson: Lesson, originals: int, longest: int, parameters: ConvolutionParameters, seed: int
) -> Convolution:
    """Train one: the weighted cross-entropy to the targets, Adam, words and filters dropped at random.

    Parameters
    ----------
    lesson : Lesson
        The texts, originals first.
    originals : int
        So many of the texts say which words get a row; those made of them do not.
    longest : int
        Words to which a text is cut.
    parameters : ConvolutionParameters
        The model and its training.
    seed : int
        Of the order, of what is dropped and of the first weights.
    """
    keys, rows = table_rows(lesson.texts, originals, words_of(longest), parameters.rows, parameters.min_count)
    random = np.random.default_rng(seed)
    table, head = first_weights(len(keys), lesson, parameters, random)
    steps = parameters.epochs * -(-len(rows) // parameters.batch_size)
    adam = Adam([table, *head.values()], parameters.learning_rate, steps)
    for batch in batches(len(rows), parameters.epochs, parameters.batch_size, random):
        kept = [_dropped(rows[number], parameters.dropout, random) for number in batch]
        used, numbers = padded(kept, parameters.window)
        vectors = np.concatenate([table[used], np.zeros((1, table.shape[1]), np.float32)])
        shown = see(vectors[numbers], np.array([len(one) for one in kept]), head, parameters.window)
        mask = (random.random(shown.pooled.shape) >= parameters.dropout) / np.float32(1 - parameters.dropout)
        weights = lesson.weights[batch, None] / len(batch)
        slopes = gradient(shown, mask.astype(np.float32), head, lesson.targets[batch], weights)
        adam.step([to_rows(slopes[0], numbers, len(used), parameters.window), *slopes[1:]], used)
    return Convolution(longest, parameters.window, keys, table, head)


def first_weights(
    rows: int, lesson: Lesson, parameters: ConvolutionParameters, random: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return a table and a head to start from."""
    classes, inputs = lesson.targets.shape[1], parameters.window * parameters.width
    bias = np.log(np.average(lesson.targets, axis=0, weights=lesson.weights + 1e-6) + 1e-3)
    weights = {
        "filters": random.normal(0, (2 / inputs) ** 0.5, (inputs, parameters.filters)),
        "thresholds": np.zeros(parameters.filters),
        "linear": random.normal(0, parameters.filters**-0.5, (parameters.filters, classes)),
        "bias": bias,
    }
    table = random.normal(0, 0.3, (rows, parameters.width)).astype(np.float32)
    return table, {name: weight.astype(np.float32) for name, weight in weights.items()}


def padded(rows: list[np.ndarray], window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the table's rows that a batch uses, and each text as numbers of these, padded by the number behind the last.

    Every text has ``window - 1`` of padding before and behind, as when it is answered.
    """
    used, numbers = np.unique(np.concatenate(rows), return_inverse=True)
    longest = max(1, max(len(one) for one in rows))
    found = np.full((len(rows), longest + 2 * (window - 1)), len(used))
    start = 0
    for text, one in enumerate(rows):
        found[text, window - 1 : window - 1 + len(one)] = numbers[start : start + len(one)]
        start += len(one)
    return used, found


def see(words: np.ndarray, lengths: np.ndarray, head: dict[str, np.ndarray], window: int) -> Seen:
    """Run the filters over texts of shape ``(batch, length, width)``; places behind a text's end do not count."""
    batch, length, width = words.shape
    places = length - window + 1
    windows = sliding_window_view(words.reshape(batch, -1), window * width, axis=1)[:, ::width]
    windows = np.ascontiguousarray(windows).reshape(batch * places, window * width)
    found = (windows @ head["filters"]).reshape(batch, places, -1)
    ends = np.maximum(lengths + window - 1, 1)
    found[np.arange(places)[None] >= ends[:, None]] = -np.inf
    highest = found.argmax(axis=1)
    pooled = np.take_along_axis(found, highest[:, None], axis=1)[:, 0] + head["thresholds"]
    return Seen(windows, highest + np.arange(batch)[:, None] * places, np.maximum(pooled, 0))


def gradient(
    seen: Seen, mask: np.ndarray, head: dict[str, np.ndarray], targets: np.ndarray, weights: np.ndarray
) -> list[np.ndarray]:
    """Return the loss's gradients: of the windows, then of the head in its order."""
    pooled = seen.pooled * mask
    error = weights * (softmax(pooled @ head["linear"] + head["bias"]) - targets)
    back = (error @ head["linear"].T) * mask * (seen.pooled > 0)
    filters = np.broadcast_to(np.arange(back.shape[1]), back.shape)
    reached = csr_matrix(
        (back.ravel(), (seen.place.ravel(), filters.ravel())), shape=(len(seen.windows), back.shape[1])
    )
    return [
        reached @ head["filters"].T,
        (reached.T @ seen.windows).T,
        back.sum(axis=0),
        pooled.T @ error,
        error.sum(axis=0),
    ]


def to_rows(windows: np.ndarray, numbers: np.ndarray, used: int, window: int) -> np.ndarray:
    """Add up the gradients of windows, ``(batch * places, window * width)``, over the words that they show."""
    batch, length = numbers.shape
    each = windows.reshape(batch, length - window + 1, window, -1)
    words = np.zeros((batch, length, each.shape[-1]), dtype=np.float32)
    for place in range(window):
        words[:, place : place + each.shape[1]] += each[:, :, place]
    shown = numbers.ravel()
    adding = csr_matrix((np.ones(len(shown), np.float32), (shown, np.arange(len(shown)))), shape=(used + 1, len(shown)))
    return np.asarray((adding @ words.reshape(len(shown), -1))[:-1])


def _dropped(rows: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    return rows[random.random(len(rows)) >= share]
