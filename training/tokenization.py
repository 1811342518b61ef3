"""Text to token ids, the same in training and in serving."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ledger.errors import CheckpointError

PADDING = 0
"""The id of padding; the networks read their mask off it."""


def read_tokenizer(path: Path, max_length: int) -> Tokenizer:
    """Read a fast tokenizer, and have it cut texts to ``max_length`` tokens and pad none.

    What the file itself says of truncation and padding is dropped: MiniLM's pads every text to 128 tokens.

    Raises
    ------
    CheckpointError
        If the file is missing or no tokenizer, or its padding is not token 0.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no tokenizer there; expected a fast tokenizer's tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{path}: not a fast tokenizer's tokenizer.json ({error})") from None
    if tokenizer.token_to_id("[PAD]") != PADDING:
        raise CheckpointError(f"{path}: expected a BERT tokenizer whose token {PADDING} is [PAD]")
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write a tokenizer without truncation or padding; the same tokenizer gives the same bytes."""
    bare = Tokenizer.from_str(tokenizer.to_str())
    bare.no_padding()
    bare.no_truncation()
    path.write_text(bare.to_str() + "\n", encoding="utf-8")


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Turn texts into token ids, int32, each of its true length, special tokens included."""
    return [np.asarray(encoding.ids, dtype=np.int32) for encoding in tokenizer.encode_batch(list(texts))]


def pad(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Stack sequences of differing length, zeros behind; ``(n, longest, ...)``, of the first one's dtype."""
    longest = max(len(sequence) for sequence in sequences)
    padded = np.zeros((len(sequences), longest, *sequences[0].shape[1:]), dtype=sequences[0].dtype)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded
