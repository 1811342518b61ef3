from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.checkpoint import resolve_checkpoint
from ledger.errors import CheckpointError
from training.tokenization import encode, pad, read_tokenizer, write_tokenizer


def test_minilms_own_padding_and_truncation_are_dropped():
    tokenizer = read_tokenizer(resolve_checkpoint("minilm") / "tokenizer.json", 300)
    short, long = encode(tokenizer, ["hello", "word " * 500])
    assert len(short) == 3  # [CLS] hello [SEP], not padded to 128
    assert len(long) == 300


def test_written_tokenizer_cuts_nothing_and_repeats_its_bytes(checkpoint: Path, tmp_path: Path):
    tokenizer = read_tokenizer(checkpoint / "tokenizer.json", 4)
    for name in ("a.json", "b.json"):
        write_tokenizer(tokenizer, tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert len(encode(tokenizer, ["win free money now"])[0]) == 4  # the one at hand still cuts
    assert len(encode(read_tokenizer(tmp_path / "a.json", 64), ["win free money now"])[0]) > 4


def test_missing_tokenizer(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no tokenizer there"):
        read_tokenizer(tmp_path / "tokenizer.json", 8)


def test_not_a_tokenizer(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a fast tokenizer's"):
        read_tokenizer(tmp_path / "tokenizer.json", 8)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_pad_keeps_every_token_and_adds_zeros_behind(lengths: list[int]):
    padded = pad([np.full(length, 7, dtype=np.int32) for length in lengths])
    assert padded.dtype == np.int32 and padded.shape == (len(lengths), max(lengths))
    for row, length in zip(padded, lengths, strict=True):
        assert (row[:length] == 7).all() and (row[length:] == 0).all()
