import json
import shutil

import numpy as np
import polars as pl
import pytest

from labeling.checkpoint import resolve_checkpoint
from labeling.embeddings import read_embeddings, write_embeddings
from labeling.encoder import encode, encoder_fingerprint
from ledger.errors import CheckpointError, DataError

TEXTS = [
    "where is my parcel",
    "",
    "the invoice is wrong, I was charged twice",
    "Größe und Farbe 👍",
    "where is my parcel",
]


def test_as_transformers_encodes():
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = resolve_checkpoint("minilm")
    tokens = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, truncation=True, max_length=8, return_tensors="pt"
    )
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state
    kept = tokens["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((hidden * kept).sum(1) / kept.sum(1), dim=1).numpy()
    np.testing.assert_allclose(encode(TEXTS, max_length=8), expected, atol=2e-6)


def test_same_texts_same_bytes():
    first, second = encode(TEXTS), encode(TEXTS)
    assert first.dtype == np.float32 and first.shape == (5, 384)
    assert first.tobytes() == second.tobytes()
    assert np.array_equal(first[0], first[4])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)


def test_no_texts():
    assert encode([]).shape == (0, 384)


def test_only_bert(tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(resolve_checkpoint("minilm"), folder)
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "roberta"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json: expected model_type 'bert', got 'roberta'"):
        encode(["a"], str(folder))
    assert encoder_fingerprint(str(folder)) != encoder_fingerprint("minilm")


def test_a_missing_folder_names_the_key():
    with pytest.raises(CheckpointError, match=r"embed\.encoder: no folder"):
        encode(["a"], "./nowhere")


def test_the_table_round_trips(tmp_path):
    path = tmp_path / "embeddings.parquet"
    embeddings = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_embeddings(path, pl.Series(["a", "b", "c"]), embeddings, ["x", "y"], {"name": "minilm"})
    assert np.array_equal(read_embeddings(path, pl.Series(["c", "a"])), embeddings[[2, 0]])
    with pytest.raises(DataError, match="run `embed` again"):
        read_embeddings(path, pl.Series(["a", "z"]))
    write_embeddings(path, pl.Series([], dtype=pl.String), embeddings[:0], ["x", "y"], {"name": "none"})
    assert read_embeddings(path, pl.Series(["a"])) is None
