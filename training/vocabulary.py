"""Prunes a WordPiece vocabulary to what a corpus uses."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ledger.errors import CheckpointError


def used_ids(sequences: Iterable[np.ndarray]) -> set[int]:
    """Return the distinct token ids of encoded texts."""
    return {int(token) for sequence in sequences for token in np.unique(sequence)}


def wordpiece_document(tokenizer: Tokenizer, source: Path, advice: str = "") -> dict[str, Any]:
    """Return what the tokenizer's file holds.

    Raises
    ------
    CheckpointError
        If it is not a WordPiece one; ``source`` says where it came from, ``advice`` what to do.
    """
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    kind = document["model"].get("type")
    if kind != "WordPiece":
        raise CheckpointError(f"{source}: expected a WordPiece tokenizer (BERT), got {kind}{advice}")
    return document


def prune_tokenizer(tokenizer: Tokenizer, used: set[int], source: Path) -> tuple[Tokenizer, np.ndarray]:
    """Keep the tokens in use, the special tokens and every single character.

    The characters are the way back for a word that the corpus never showed: WordPiece takes the longest pieces it
    still has, characters at worst, so that only text of an unknown script becomes ``[UNK]``.
    Text of the corpus itself is cut into the very same pieces as before.

    Parameters
    ----------
    tokenizer : Tokenizer
        A WordPiece tokenizer.
    used : set of int
        The ids in use.
    source : Path
        Where the tokenizer came from, for messages.

    Returns
    -------
    tokenizer : Tokenizer
        With the kept tokens numbered anew, in the old order.
    kept : np.ndarray
        The old id of each new id, int64, ascending.

    Raises
    ------
    CheckpointError
        If the tokenizer is not a WordPiece one.
    """
    document = wordpiece_document(tokenizer, source)
    model = document["model"]
    prefix = model["continuing_subword_prefix"]
    special = {token["id"] for token in document["added_tokens"]}
    kept = sorted(
        index
        for token, index in model["vocab"].items()
        if index in used or index in special or len(token.removeprefix(prefix)) == 1
    )
    renumbered = {old: new for new, old in enumerate(kept)}
    model["vocab"] = {
        token: renumbered[index]
        for token, index in sorted(model["vocab"].items(), key=lambda entry: entry[1])
        if index in renumbered
    }
    for token in document["added_tokens"]:
        token["id"] = renumbered[token["id"]]
    processor = document.get("post_processor") or {}
    for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
        token["ids"] = [renumbered[index] for index in token["ids"]]
    for end in ("cls", "sep"):  # BertProcessing
        if end in processor:
            processor[end] = [processor[end][0], renumbered[processor[end][1]]]
    return Tokenizer.from_str(json.dumps(document)), np.asarray(kept, dtype=np.int64)
