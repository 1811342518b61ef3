"""The network that KerasHub loads is the checkpoint's own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from labeling.checkpoint import resolve_checkpoint
from ledger.errors import CheckpointError
from training.backbone import activation_of, epsilon_of, load_backbone, untrained_copy
from training.teacher import whole_inputs
from training.tokenization import encode, pad, read_tokenizer

TEXTS = ["Where is my card?", "The company's net profit rose to 12.5 million euros in 1990, from 9.1 million.", "win"]


def changed(checkpoint: Path, folder: Path, **facts: object) -> Path:
    """Copy a checkpoint and turn some of its config; None takes the key away."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text()) | facts
    known = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(known))
    return folder


def assert_the_same_function(folder: Path, ids: np.ndarray, tolerance: float) -> None:
    import torch
    from transformers import BertModel

    mask = (ids != 0).astype(np.int64)
    ours = load_backbone(folder)(whole_inputs(tf.constant(ids)), training=False)["sequence_output"].numpy()
    with torch.no_grad():
        theirs = BertModel.from_pretrained(folder).eval()(
            torch.tensor(ids.astype(np.int64)), attention_mask=torch.tensor(mask)
        )
    theirs, kept = theirs.last_hidden_state.numpy(), mask[..., None]
    np.testing.assert_allclose(ours * kept, theirs * kept, rtol=0, atol=tolerance)
    ours, theirs = ((states * kept).sum(1) / kept.sum(1) for states in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_minilm_says_what_transformers_says():
    """Hidden states differ by 0.005 with the approximate GELU that KerasHub hardcodes."""
    folder = resolve_checkpoint("minilm")
    ids = pad(encode(read_tokenizer(folder / "tokenizer.json", 64), TEXTS))
    assert_the_same_function(folder, ids, tolerance=1e-5)


@pytest.mark.parametrize(
    "facts", [{"hidden_act": "gelu_new"}, {"hidden_act": "relu"}, {"layer_norm_eps": 0.05}, {"architectures": None}]
)
def test_the_config_is_followed(checkpoint: Path, tmp_path: Path, facts: dict):
    ids = np.array([[2, 5, 6, 7, 8, 3], [2, 9, 3, 0, 0, 0]], np.int32)
    assert_the_same_function(changed(checkpoint, tmp_path / "c", **facts), ids, tolerance=1e-5)


def test_a_copy_has_the_same_functions(checkpoint: Path, tmp_path: Path):
    backbone = load_backbone(changed(checkpoint, tmp_path / "c", hidden_act="relu", layer_norm_eps=0.05))
    copy = untrained_copy(backbone)
    assert (activation_of(copy), epsilon_of(copy)) == ("relu", 0.05)


@pytest.mark.parametrize("facts", [{"hidden_act": "quick_gelu"}, {"position_embedding_type": "relative_key"}])
def test_what_would_silently_be_another_network(checkpoint: Path, tmp_path: Path, facts: dict):
    with pytest.raises(CheckpointError, match=f"{next(iter(facts))}='.*' must be"):
        load_backbone(changed(checkpoint, tmp_path / "c", **facts))
