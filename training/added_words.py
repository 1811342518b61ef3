"""Gives a checkpoint's vocabulary the words of an app's own language: one token for a word that took several pieces.

A general WordPiece cuts the words of a field or language it has seldom seen into many small pieces, which mean little: longer texts, and
a teacher that first has to learn to spell. Each added word starts as the mean of its pieces' vectors and is learned from there
(Hong et al. 2021, AVocaDo, https://arxiv.org/abs/2110.13434; Sachidananda et al. 2021, https://arxiv.org/abs/2109.07460).
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from training.backbone import with_table
from training.vocabulary import wordpiece_document

LEAST_TEXTS = 3
"""Texts that must have a word: what is seen less often is better spelled."""


def frequent_words(tokenizer: Tokenizer, texts: Iterable[str], most: int) -> dict[str, list[int]]:
    """Return the words in most texts that the tokenizer cuts, at most ``most``, with the ids of their pieces.

    Words are what the tokenizer's own normalizer and pre-tokenizer make of a text. The most frequent come first; of those as
    frequent, the first in the alphabet.
    """
    normalizer, splitter = tokenizer.normalizer, tokenizer.pre_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        plain = normalizer.normalize_str(text) if normalizer else text
        counts.update({word for word, _ in splitter.pre_tokenize_str(plain)})
    bare = Tokenizer(tokenizer.model)
    pieces: dict[str, list[int]] = {}
    for word in sorted(counts, key=lambda word: (-counts[word], word)):
        if len(pieces) == most or counts[word] < LEAST_TEXTS:
            break
        ids = bare.encode(word, add_special_tokens=False).ids
        if len(ids) > 1:
            pieces[word] = ids
    return pieces


def with_words(tokenizer: Tokenizer, words: Iterable[str], source: Path) -> Tokenizer:
    """Return the tokenizer with words added behind its vocabulary, in their order; it truncates as before.

    Raises
    ------
    CheckpointError
        If the tokenizer is not a WordPiece one.
    """
    document = wordpiece_document(tokenizer, source, "; set teach.added_words to 0")
    document["model"]["vocab"] |= {word: number for number, word in enumerate(words, start=next_id(tokenizer))}
    return Tokenizer.from_str(json.dumps(document))


def next_id(tokenizer: Tokenizer) -> int:
    """Return the id behind all that the tokenizer has."""
    return int(max(tokenizer.get_vocab().values())) + 1


def with_first_vectors(table: np.ndarray, first: int, pieces: Iterable[list[int]]) -> np.ndarray:
    """Return the embedding table with a row for each added word, the mean of its pieces'.

    Parameters
    ----------
    table : np.ndarray
        Float32 of shape ``(rows, width)``; rows from ``first`` on, which no token has, are left out.
    first : int
        The first added word's id.
    pieces : iterable of list of int
        Of each word, the ids of its pieces.
    """
    added = [table[ids].mean(axis=0) for ids in pieces]
    return np.concatenate([table[:first], np.asarray(added, dtype=table.dtype).reshape(-1, table.shape[1])])


def add_words(
    backbone: Any, tokenizer: Tokenizer, texts: Iterable[str], most: int, source: Path
) -> tuple[Any, Tokenizer, int]:
    """Return backbone and tokenizer with the app's own words, and how many were added; both as they came where ``most`` is 0."""
    if not most:
        return backbone, tokenizer, 0
    pieces = frequent_words(tokenizer, texts, most)
    larger = with_words(tokenizer, pieces, source)
    table = with_first_vectors(np.asarray(backbone.token_embedding.embeddings), next_id(tokenizer), pieces.values())
    return with_table(backbone, table), larger, len(pieces)
