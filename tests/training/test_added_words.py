"""Words of the app's own in the vocabulary: which, with what vectors, and that nothing else changes."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from keras import ops
from tokenizers import Tokenizer, models

from labeling.checkpoint import resolve_checkpoint
from labeling.training_set import TrainingSet, read_training_set, write_training_set
from ledger.errors import CheckpointError
from ledger.meter import Usage
from tests.training.conftest import Tree
from training import teach
from training.added_words import add_words, frequent_words, with_first_vectors, with_words
from training.backbone import load_backbone
from training.model_files import read_model
from training.teacher import whole_inputs
from training.tokenization import read_tokenizer

SOURCE = resolve_checkpoint("minilm") / "tokenizer.json"
TOKENIZER = read_tokenizer(SOURCE, 64)
TEXTS = ["Unë kam kartën time", "karten ime", "Ku është KARTEN?", "kartela", "time is up", "une, karten!"]


def test_words_are_counted_as_the_tokenizer_sees_them_once_a_text():
    pieces = frequent_words(TOKENIZER, [*TEXTS, "kartela kartela kartela"], 10)
    assert list(pieces) == [
        "karten"
    ]  # four texts, whatever its case or accents; "time" is one piece, "kartela" in two texts
    assert [TOKENIZER.id_to_token(number) for number in pieces["karten"]] == TOKENIZER.encode("karten").tokens[1:-1]
    assert frequent_words(TOKENIZER, TEXTS, 0) == {}


def test_an_added_word_is_one_token_and_other_texts_are_cut_as_before():
    larger = with_words(TOKENIZER, ["karten"], SOURCE)
    assert larger.encode("Kartën time").tokens == ["[CLS]", "karten", "time", "[SEP]"]
    assert larger.encode("karten").ids[1] == TOKENIZER.get_vocab_size() == larger.get_vocab_size() - 1
    for text in ("subscribe to my channel", "unbelievable!", "a kar"):
        assert larger.encode(text).ids == TOKENIZER.encode(text).ids
    assert len(larger.encode("karten " * 100).ids) == 64


def test_vectors_start_as_the_mean_of_the_pieces():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    larger = with_first_vectors(table, 4, [[0, 1], [1, 3, 3]])
    np.testing.assert_array_equal(larger[:4], table)
    np.testing.assert_allclose(larger[4:], [[1.5, 2.5, 3.5], [7, 8, 9]])
    assert larger.dtype == np.float32 and with_first_vectors(table, 4, []).shape == (4, 3)


def test_the_rest_of_the_backbone_is_the_same(checkpoint: Path):
    tokenizer = read_tokenizer(checkpoint / "tokenizer.json", 16)
    backbone = load_backbone(checkpoint)
    texts = ["believable singers"] * 3
    larger, words, added = add_words(backbone, tokenizer, texts, 5, checkpoint)
    assert added == len(frequent_words(tokenizer, texts, 5)) > 0
    assert larger.token_embedding.embeddings.shape[0] == words.get_vocab_size() == tokenizer.get_vocab_size() + added
    ids = ops.convert_to_tensor([[2, 5, 9, 7, 3]], dtype="int32")  # none of them added
    outputs = [model(whole_inputs(ids))["sequence_output"] for model in (backbone, larger)]
    np.testing.assert_array_equal(*outputs)


def test_the_stage_teaches_in_the_apps_words_and_the_teacher_keeps_them(tree: Tree):
    given = read_training_set(tree.places.training_set)
    rows = given.rows.with_columns(text=pl.col("text") + " songvoice")
    write_training_set(TrainingSet(given.labels, rows), tree.places.training_set)
    tree.parameters(teach={"added_words": 20, "method": "full", "epochs": 2})
    teach.main(tree.places, Usage("teach"))
    teacher = read_model(tree.places.teacher, "teach")
    assert "songvoice" in teacher.tokenizer.get_vocab()
    assert teacher.shape.vocabulary == teacher.tokenizer.get_vocab_size() == len(teacher.weights["embedding/tokens"])
    assert teacher.tokenizer.encode("a SONGVOICE").tokens[1:-1] == ["a", "songvoice"]


def test_another_kind_of_tokenizer_is_refused():
    with pytest.raises(CheckpointError, match="expected a WordPiece tokenizer"):
        with_words(Tokenizer(models.BPE()), ["a"], SOURCE)
