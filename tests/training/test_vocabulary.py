import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from labeling.checkpoint import resolve_checkpoint
from ledger.errors import CheckpointError
from training.tokenization import encode, read_tokenizer
from training.vocabulary import prune_tokenizer, used_ids

CORPUS = ["Check out my channel for free!", "the singer's unbelievable voice", "subscribe 4 subscribe :)"]
SOURCE = resolve_checkpoint("minilm") / "tokenizer.json"
WHOLE = read_tokenizer(SOURCE, 64)
PRUNED, KEPT = prune_tokenizer(WHOLE, used_ids(encode(WHOLE, CORPUS)), SOURCE)


def test_much_smaller_and_the_special_tokens_kept():
    assert PRUNED.get_vocab_size() == len(KEPT) < 0.1 * WHOLE.get_vocab_size()
    assert PRUNED.token_to_id("[PAD]") == 0
    assert all(PRUNED.token_to_id(token) is not None for token in ("[UNK]", "[CLS]", "[SEP]", "[MASK]"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(" ".join(CORPUS).split()), min_size=1, max_size=12))
def test_text_of_the_corpus_is_cut_into_the_same_pieces(words: list[str]):
    text = " ".join(words)
    assert PRUNED.encode(text).tokens == WHOLE.encode(text).tokens
    np.testing.assert_array_equal(KEPT[encode(PRUNED, [text])[0]], encode(WHOLE, [text])[0])


def test_an_unseen_word_falls_back_to_its_characters():
    assert WHOLE.encode("zebra").tokens == ["[CLS]", "zebra", "[SEP]"]
    tokens = PRUNED.encode("zebra").tokens[1:-1]
    assert "[UNK]" not in tokens
    assert "".join(token.removeprefix("##") for token in tokens) == "zebra"


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=30))
def test_no_latin_word_is_unknown(word: str):
    assert "[UNK]" not in PRUNED.encode(word).tokens


def test_survives_being_written():
    again = Tokenizer.from_str(PRUNED.to_str())
    assert again.encode(CORPUS[0]).ids == PRUNED.encode(CORPUS[0]).ids
    assert json.loads(PRUNED.to_str())["post_processor"]["special_tokens"]["[SEP]"]["ids"] == [
        PRUNED.token_to_id("[SEP]")
    ]


def test_other_tokenizers_are_refused():
    with pytest.raises(CheckpointError, match=r"expected a WordPiece tokenizer \(BERT\), got BPE"):
        prune_tokenizer(Tokenizer(models.BPE()), set(), Path("here/tokenizer.json"))
