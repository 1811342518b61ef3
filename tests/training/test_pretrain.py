from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import texts_and_labels
from training.backbone import load_backbone
from training.determinism import make_deterministic
from training.pretrain import MASKED, language_head, mask_tokens, pretrain
from training.tokenization import encode, read_tokenizer

SPECIAL = np.array([0, 1, 2, 3, 4])


def test_of_the_hidden_tokens_eight_in_ten_are_masks_one_another_token_one_itself():
    random = np.random.default_rng(0)
    ids = random.integers(5, 10_000, (400, 100)).astype(np.int32)
    ids[:, 0], ids[:, -1] = 2, 3
    ids[:, 90:-1] = 0
    shown, hidden = mask_tokens(ids, SPECIAL, 4, 10_000, random)
    assert not hidden[np.isin(ids, SPECIAL)].any()
    np.testing.assert_array_equal(shown[~hidden], ids[~hidden])
    shares = [np.mean(shown[hidden] == 4), np.mean(shown[hidden] == ids[hidden])]
    np.testing.assert_allclose(shares, [0.8, 0.1], atol=0.02)
    assert np.mean(hidden[:, 1:90]) == pytest.approx(MASKED, abs=0.01)


def test_a_short_text_has_one_token_hidden_and_an_empty_one_none():
    ids = np.array([[2, 9, 3], [2, 3, 0]], dtype=np.int32)
    for seed in range(20):
        _, hidden = mask_tokens(ids, SPECIAL, 4, 50, np.random.default_rng(seed))
        np.testing.assert_array_equal(hidden, [[False, True, False], [False, False, False]])


def test_it_learns_the_texts_and_repeats_itself(checkpoint: Path):
    tokenizer = read_tokenizer(checkpoint / "tokenizer.json", 16)
    sequences = encode(tokenizer, texts_and_labels()[0])
    special = np.array([tokenizer.token_to_id(name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")])
    found = []
    for _ in range(2):
        make_deterministic(1)
        backbone = load_backbone(checkpoint)
        before = np.asarray(backbone.token_embedding.embeddings).copy()
        losses = pretrain(backbone, checkpoint, sequences, special, tokenizer.token_to_id("[MASK]"), 24, 1)
        found.append(np.asarray(backbone.token_embedding.embeddings))
        assert np.mean(losses[-8:]) < np.mean(losses[:8])
        assert not np.array_equal(found[-1], before)
    np.testing.assert_array_equal(found[0], found[1])


def test_no_epochs_leave_the_backbone(checkpoint: Path):
    assert pretrain(None, checkpoint, [], SPECIAL, 4, 0, 1) == []


def test_the_output_table_is_the_token_embedding(checkpoint: Path):
    backbone = load_backbone(checkpoint)
    head = language_head(backbone, checkpoint)
    assert any(weight is backbone.token_embedding.embeddings for weight in head.weights)


def test_the_checkpoints_own_head_is_used(checkpoint: Path, tmp_path: Path):
    from safetensors.numpy import load_file, save_file

    width, vocabulary = 32, load_backbone(checkpoint).vocabulary_size
    random = np.random.default_rng(0)
    own = {
        "cls.predictions.transform.dense.weight": (width, width),
        "cls.predictions.transform.dense.bias": (width,),
        "cls.predictions.transform.LayerNorm.weight": (width,),
        "cls.predictions.transform.LayerNorm.bias": (width,),
        "cls.predictions.bias": (vocabulary,),
    }
    values = {name: random.normal(size=shape).astype(np.float32) for name, shape in own.items()}
    save_file(load_file(checkpoint / "model.safetensors") | values, tmp_path / "model.safetensors")
    head = language_head(load_backbone(checkpoint), tmp_path)
    found = {tuple(np.round(np.ravel(weight)[:3], 5)) for weight in head.weights}
    for name, value in values.items():
        first = (value.T if name.endswith("dense.weight") else value).ravel()[:3]
        assert tuple(np.round(first, 5)) in found, name
