"""Trains a bag of features on a teacher's answers.

Written in NumPy and SciPy: a step touches the few rows that its texts have, where a network library would update the whole table.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from ledger.parameters import Parameters
from training.bag import Bag, Features, extractor, rows_of
from training.runtime import softmax

BETAS = (0.9, 0.999)
WARM_UP = 0.05


class BagParameters(Parameters):
    """How one bag is built and trained: an entry of ``substitute.models`` of ``params.yaml``."""

    words: int = Field(ge=1)
    characters: tuple[int, int]
    width: int = Field(ge=0)
    rows: int = Field(ge=1)
    min_count: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)


@dataclass(frozen=True)
class Lesson:
    """What a bag learns from.

    Attributes
    ----------
    texts : list of str
        Any number.
    targets : np.ndarray
        Probabilities, float32 of shape ``(texts, classes)``.
    weights : np.ndarray
        The weight of each text in the loss, float32 of shape ``(texts,)``.
    """

    texts: list[str]
    targets: np.ndarray
    weights: np.ndarray

    def take(self, chosen: np.ndarray) -> "Lesson":
        """Return the texts of these numbers alone."""
        return Lesson([self.texts[number] for number in chosen], self.targets[chosen], self.weights[chosen])


def frequent_keys(hashes: list[np.ndarray], rows: int, min_count: int) -> np.ndarray:
    """Return the hashes in most texts, at most ``rows``, each in at least ``min_count``; uint32, ascending, never empty."""
    keys, counts = np.unique(np.concatenate([np.unique(one) for one in hashes]), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:rows]
    kept = order[counts[order] >= min_count]
    return np.sort(keys[kept if len(kept) else order])


def table_rows(
    texts: list[str], originals: int, features: Features, rows: int, min_count: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the hashes that get a row, by the first ``originals`` texts (`frequent_keys`), and the rows of every text's features."""
    extract = extractor(features)
    hashes = [extract(text) for text in texts]
    keys = frequent_keys(hashes[:originals], rows, min_count)
    return keys, [rows_of(keys, one) for one in hashes]


def train_bag(lesson: Lesson, originals: int, longest: int, parameters: BagParameters, seed: int) -> Bag:
    """Train a bag: the weighted cross-entropy to the targets, Adam on the rows a batch has (lazily), features dropped at random.

    Parameters
    ----------
    lesson : Lesson
        The texts, originals first.
    originals : int
        So many of the texts say which features get a row; those made of them do not.
    longest : int
        Words to which a text is cut.
    parameters : BagParameters
        The model and its training.
    seed : int
        Of the order, of what is dropped and of the first weights.
    """
    features = Features(parameters.words, parameters.characters, longest)
    keys, rows = table_rows(lesson.texts, originals, features, parameters.rows, parameters.min_count)
    random = np.random.default_rng(seed)
    table, head = first_weights(len(keys), lesson, parameters.width, random)
    steps = parameters.epochs * -(-len(rows) // parameters.batch_size)
    adam = Adam([table, *head.values()], parameters.learning_rate, steps)
    for batch in batches(len(rows), parameters.epochs, parameters.batch_size, random):
        used, mixing = mix([rows[number] for number in batch], parameters.dropout, random)
        weights = lesson.weights[batch, None] / len(batch)
        gradients = gradient(mixing, table[used], head, lesson.targets[batch], weights)
        adam.step(gradients, used)
    return Bag(features, keys, table, head)


def first_weights(
    rows: int, lesson: Lesson, width: int, random: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return a table and a head to start from; a linear model starts from zero, so that a rare row stays small."""
    classes = lesson.targets.shape[1]
    bias = np.log(np.average(lesson.targets, axis=0, weights=lesson.weights + 1e-6) + 1e-3).astype(np.float32)
    if not width:
        return np.zeros((rows, classes), np.float32), {"bias": bias}
    table = random.normal(0, 0.1, (rows, width)).astype(np.float32)
    linear, hidden = random.normal(0, width**-0.5, (2, width, classes)).astype(np.float32)
    return table, {"bias": bias, "linear": linear, "hidden": hidden}


def batches(rows: int, epochs: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield row numbers in batches, each row once an epoch, in an order of its own each epoch."""
    for _ in range(epochs):
        order = random.permutation(rows)
        yield from (order[start : start + size] for start in range(0, rows, size))


def mix(rows: list[np.ndarray], dropout: float, random: np.random.Generator) -> tuple[np.ndarray, csr_matrix]:
    """Return the table's rows that a batch uses, and the matrix that makes of them the vector of each text."""
    every = np.concatenate(rows)
    text = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
    kept = random.random(len(every)) >= dropout
    every, text = every[kept], text[kept]
    counts = np.bincount(text, minlength=len(rows))
    used, column = np.unique(every, return_inverse=True)
    values = (np.maximum(counts, 1) ** -0.5)[text].astype(np.float32)
    return used, csr_matrix((values, column, np.append(0, np.cumsum(counts))), shape=(len(rows), len(used)))


def gradient(
    mixing: csr_matrix, table: np.ndarray, head: dict[str, np.ndarray], targets: np.ndarray, weights: np.ndarray
) -> list[np.ndarray]:
    """Return the loss's gradients: of the table's rows at hand, then of the head in its order."""
    vectors = mixing @ table
    if "linear" not in head:
        error = weights * (softmax(vectors + head["bias"]) - targets)
        return [mixing.T @ error, error.sum(axis=0)]
    rectified = np.maximum(vectors, 0)
    error = weights * (softmax(vectors @ head["linear"] + rectified @ head["hidden"] + head["bias"]) - targets)
    back = error @ head["linear"].T + (error @ head["hidden"].T) * (vectors > 0)
    return [mixing.T @ back, error.sum(axis=0), vectors.T @ error, rectified.T @ error]


class Adam:
    """Adam (Kingma & Ba 2015), its rate warmed up and then falling to zero in a line; changes the weights in place."""

    def __init__(self, weights: list[np.ndarray], learning_rate: float, steps: int) -> None:
        self.weights, self.learning_rate, self.steps, self.taken = weights, learning_rate, steps, 0
        self.moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in weights]

    def step(self, gradients: list[np.ndarray], used: np.ndarray) -> None:
        """Take a step; of the first weight, the table, only the rows ``used``."""
        self.taken += 1
        rate = self.learning_rate * min(1.0, self.taken / (WARM_UP * self.steps)) * (1 - (self.taken - 1) / self.steps)
        first_correction, second_correction = (1 - beta**self.taken for beta in BETAS)
        for number, (weight, (mean, square)) in enumerate(zip(self.weights, self.moments, strict=True)):
            at = used if number == 0 else slice(None)
            slope = gradients[number]
            new_mean = BETAS[0] * mean[at] + (1 - BETAS[0]) * slope
            new_square = BETAS[1] * square[at] + (1 - BETAS[1]) * slope * slope
            mean[at], square[at] = new_mean, new_square
            weight[at] -= rate * (new_mean / first_correction) / (np.sqrt(new_square / second_correction) + 1e-8)
