import json

import numpy as np
import polars as pl
import pytest

from labeling import embed as stage
from labeling.embed import EmbedParameters, embed, spread_over_parts
from labeling.embeddings import read_embeddings
from labeling.encoder import encode
from ledger.errors import ConfigurationError
from ledger.meter import Usage
from tests.labeling.conftest import run_until

MINILM = EmbedParameters(encoder="minilm", max_length=64)
TEXTS = [f"message {n} about a {thing}" for n, thing in enumerate(["kettle", "lamp", "phone"] * 4)] + [
    "message 0 about a kettle"
]


@pytest.fixture
def with_minilm(small_app, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("encoder: none", "encoder: minilm"))
    return small_app


def test_every_row_of_the_corpus_is_embedded_and_no_other(with_minilm):
    run_until(with_minilm, "embed")
    corpus = pl.read_parquet(with_minilm.corpus)
    table = pl.read_parquet(with_minilm.embeddings)
    assert table["row_id"].equals(corpus["row_id"])
    assert not set(table["row_id"]) & set(pl.read_parquet(with_minilm.test)["row_id"])
    found = read_embeddings(with_minilm.embeddings, corpus["row_id"])
    np.testing.assert_allclose(found, encode(corpus["text"].to_list()), atol=2e-6)
    told = json.loads(pl.read_parquet_metadata(with_minilm.embeddings)["encoder"])
    assert told["name"] == "minilm" and told["max_length"] == 64 and len(told["fingerprint"]) == 16


def test_a_run_that_goes_on_gives_the_bytes_of_one_that_was_whole(with_minilm, monkeypatch):
    monkeypatch.setattr(stage, "PART_TEXTS", 16)
    run_until(with_minilm, "embed")
    whole = with_minilm.embeddings.read_bytes()
    parts = sorted(with_minilm.embedding_parts.glob("*.npy"))
    assert len(parts) > 4
    for part in parts[::2]:
        part.unlink()
    usage = Usage("embed")
    stage.main(with_minilm, usage)
    assert with_minilm.embeddings.read_bytes() == whole
    assert 0 < usage.figures["encoded"] < usage.figures["rows"]


def test_parts_of_texts_that_are_gone_are_removed(tmp_path):
    embed(TEXTS, MINILM, "f", tmp_path)
    _, encoded = embed(TEXTS[:3], MINILM, "f", tmp_path)
    assert encoded == 3 and len(list(tmp_path.iterdir())) == 1
    assert embed(TEXTS[:3], MINILM, "f", tmp_path)[1] == 0
    assert embed(TEXTS[:3], MINILM, "another encoder", tmp_path)[1] == 3


def test_equal_texts_are_encoded_once():
    embeddings, encoded = embed(TEXTS, MINILM, "f")
    assert encoded == len(TEXTS) - 1 and np.array_equal(embeddings[0], embeddings[-1])


def test_a_new_text_changes_one_part_only():
    texts = [f"text {n}" for n in range(5000)]
    before, after = spread_over_parts(texts), spread_over_parts([*texts, "one more"])
    assert len(before) == len(after) == 8 and sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert sorted(text for members in before for text in members) == sorted(texts)


def test_without_an_encoder_the_table_is_empty(small_app):
    run_until(small_app, "embed")
    assert pl.read_parquet(small_app.embeddings).height == 0
    assert read_embeddings(small_app.embeddings, pl.Series(["any"])) is None


def test_functions_by_meaning_take_what_embed_has_read(with_minilm):
    """`vote` encodes no row of the corpus again: a table of equal embeddings makes every row vote alike."""
    (with_minilm.app_folder / "functions.py").write_text(
        "from labeling.functions import nearest\n"
        "FUNCTIONS = [nearest('n', {'good': ['a great kettle'], 'bad': ['a broken phone']}, -1, 0)]\n"
    )
    run_until(with_minilm, "vote")
    assert pl.read_parquet(with_minilm.votes)["n"].n_unique() == 2
    table = pl.read_parquet(with_minilm.embeddings)
    metadata = {
        key: value for key, value in pl.read_parquet_metadata(with_minilm.embeddings).items() if key != "ARROW:schema"
    }
    same = pl.Series("embedding", [table["embedding"][0]] * table.height, dtype=table.schema["embedding"])
    table.with_columns(same).write_parquet(with_minilm.embeddings, metadata=metadata)
    from labeling import vote

    vote.main(with_minilm, Usage("vote"))
    assert pl.read_parquet(with_minilm.votes)["n"].n_unique() == 1


@pytest.mark.parametrize("wrong", ["max_length: 4", "max_length: 64\n  depth: 1"])
def test_parameters_out_of_range_are_refused(small_app, tmp_path, wrong):
    run_until(small_app, "fuse")
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("max_length: 64", wrong, 1))
    with pytest.raises(ConfigurationError, match=r"params\.yaml:\d+: embed\."):
        stage.main(small_app, Usage("embed"))
