"""The format `bag`: a table with a row a feature of the text; rows are averaged, a small head may follow. NumPy only.

Features are n-grams of words and of characters, each a hash of 32 bits. The table has a row for those that the corpus showed
often enough. A word that it never showed counts for nothing by itself, but its characters still do. Two models are written
so: a linear one, whose rows are logits (in the place of TF-IDF and a linear model; Joulin et al. 2017, fastText), and static
embeddings (Model2Vec, Tulkens & van Dongen 2024), whose rows are vectors with a head behind.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from training.products import product
from training.table_file import TableFile, read_table, rounded, table_bytes

MULTIPLIER = np.uint32(0x9E3779B1)
CHARACTERS_A_WORD = 16
"""No more characters than so many a word are looked at: a request must not grow without end."""

Answer = Callable[[Sequence[str], int], np.ndarray]
"""Texts, and how many to run at a time, to float32 logits of shape ``(len(texts), classes)``."""


@dataclass(frozen=True)
class Features:
    """What a text is taken apart into.

    Attributes
    ----------
    words : int
        N-grams of words up to this length; 0: none. A mark of punctuation is a word.
    characters : tuple of int
        The shortest and the longest n-gram of characters, blanks included; ``(0, 0)``: none.
    longest : int
        Words to which a text is cut.
    """

    words: int
    characters: tuple[int, int]
    longest: int


@dataclass(frozen=True)
class Bag:
    """A model over bags of features.

    The rows of a text's features are added up and divided by the root of their number: a vector v. The logits are
    ``v + bias`` where there is no head, else ``v @ linear + relu(v) @ hidden + bias``.

    Attributes
    ----------
    features : Features
        What a text is taken apart into.
    keys : np.ndarray
        The hashes that have a row, uint32 of shape ``(rows,)``, ascending.
    table : np.ndarray
        Float32 of shape ``(rows, width)``.
    head : dict of str to np.ndarray
        ``bias`` of shape ``(classes,)``, and where there is a head ``linear`` and ``hidden`` of ``(width, classes)``, float32.
    """

    features: Features
    keys: np.ndarray
    table: np.ndarray
    head: dict[str, np.ndarray]


def extractor(features: Features) -> Callable[[str], np.ndarray]:
    """Return the function that takes a text apart: str to uint32 hashes of shape ``(features,)``, repeats included."""
    find = re.compile(r"\w+|[^\w\s]").findall
    longest_text = CHARACTERS_A_WORD * features.longest
    shortest, longest = features.characters

    def extract(text: str) -> np.ndarray:
        words = find(text[:longest_text].lower())[: features.longest]
        parts: list[np.ndarray] = []
        if features.words:
            chain(
                np.array([crc32(word.encode("utf-8", "replace")) for word in words], np.uint32),
                1,
                features.words,
                parts,
            )
        if longest:
            points = f" {' '.join(words)} ".encode("utf-32-le", "replace")
            chain(np.frombuffer(points, np.uint32), shortest, longest, parts)
        return np.concatenate(parts)

    return extract


def chain(items: np.ndarray, shortest: int, longest: int, parts: list[np.ndarray]) -> None:
    """Append the hashes of the n-grams of ``items`` (uint32), polynomials modulo 2**32 (Karp & Rabin 1987)."""
    grams = items
    if shortest <= 1:
        parts.append(grams)
    for length in range(2, min(longest, len(items)) + 1):
        grams = grams[:-1] * MULTIPLIER + items[length - 1 :]
        if length >= shortest:
            parts.append(grams)


def rows_of(keys: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Return the table's rows of the hashes that have one, int64, in the hashes' order."""
    rows = np.minimum(keys.searchsorted(hashes), len(keys) - 1)
    return rows[keys[rows] == hashes]


def answer(bag: Bag) -> Answer:
    """Return the function that answers texts; a text's answer depends on no other text."""
    extract, keys, table = extractor(bag.features), bag.keys, bag.table
    bias, last = bag.head["bias"], len(bag.keys) - 1
    linear, hidden = bag.head.get("linear"), bag.head.get("hidden")
    ones = np.ones(4096, dtype=np.float32)

    def run(texts: Sequence[str], _batch_size: int = 0) -> np.ndarray:
        vectors = np.zeros((len(texts), table.shape[1]), dtype=np.float32)
        for number, text in enumerate(texts):
            hashes = extract(text)
            rows = keys.searchsorted(hashes)
            np.minimum(rows, last, out=rows)
            rows = rows[keys.take(rows) == hashes]
            count = len(rows)
            if count:  # a product with ones adds up faster than sum(axis=0)
                weights = ones[:count] if count <= len(ones) else np.ones(count, np.float32)
                vectors[number] = (weights @ table.take(rows, axis=0)) * count**-0.5
        if linear is None or hidden is None:
            return vectors + bias
        return product(vectors, linear) + product(np.maximum(vectors, 0), hidden) + bias

    return run


def as_int8(bag: Bag) -> Bag:
    """Return the bag as it will be once written in int8 and read again."""
    return replace(bag, table=rounded(bag.table))


def bag_bytes(bag: Bag, precision: str) -> bytes:
    """Return the bag's file; the same bag gives the same bytes."""
    features = bag.features
    settings = {"words": features.words, "characters": list(features.characters), "longest": features.longest}
    return table_bytes(TableFile(settings, bag.keys, bag.table, bag.head), "features", precision)


def read_bag(path: Path) -> Bag:
    """Read a bag's file; raises what `read_table` raises."""
    file = read_table(path, "features")
    shortest, longest = file.settings["characters"]
    features = Features(file.settings["words"], (shortest, longest), file.settings["longest"])
    return Bag(features, file.keys, file.table, file.head)
