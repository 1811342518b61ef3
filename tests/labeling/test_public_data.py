"""The app youtube_spam on the public comments: no test text may reach voting or training."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from labeling import audit, collect, embed, fuse, label, vote
from labeling.collect import clean
from labeling.duplicates import near_duplicate_groups, normalize, shingles, similarity
from labeling.training_set import read_training_set
from ledger.meter import Usage
from ledger.places import Places
from tests.labeling.conftest import ROOT

DATA = Path(os.environ.get("PRICECUT_DATA", ROOT / "benchmarks/public")).resolve() / "youtube"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the public data are not here: set PRICECUT_DATA (make data)")


@pytest.fixture(scope="module", params=["youtube_spam", "youtube_wrench"])
def app(request, tmp_path_factory):
    """Run the labeling stages on the public comments, in a root of its own."""
    root = tmp_path_factory.mktemp(request.param)
    before = Path.cwd()
    os.chdir(root)
    try:
        shutil.copy(ROOT / "params.yaml", root)
        shutil.copytree(ROOT / "labeling/apps" / request.param, root / "labeling/apps" / request.param)
        places = Places(request.param, Path())
        collect.main(places, Usage("collect"), str(DATA))
        fuse.main(places, Usage("fuse"), str(DATA))
        for name, stage in (("embed", embed), ("vote", vote), ("label", label), ("audit", audit)):
            stage.main(places, Usage(name))
    finally:
        os.chdir(before)
    return Places(request.param, root)


def published(split):
    document = json.loads((DATA / f"{split}.json").read_text(encoding="utf-8"))
    return [clean(entry["data"]["text"]) for entry in document.values()]


def test_all_250_published_test_comments_are_measured_on(app):
    assert sorted(pl.read_parquet(app.test)["text"]) == sorted(published("test"))


def test_no_test_text_nor_near_duplicate_is_voted_or_trained_on(app):
    test = [shingles(normalize(text)) for text in published("test")]
    corpus = pl.read_parquet(app.corpus)
    assert set(pl.read_parquet(app.votes)["row_id"]) == set(corpus["row_id"])
    training_set = read_training_set(app.training_set).rows
    assert set(training_set["row_id"]) == set(corpus["row_id"])
    # Every pair is compared exactly: what finds the duplicates must not be what proves that there are none.
    for text in training_set["text"]:
        mine = shingles(normalize(text))
        assert max(similarity(mine, theirs) for theirs in test) < 0.8


def test_gold_is_the_published_validation_split(app):
    gold = pl.read_parquet(app.corpus).filter(pl.col("split") == "gold")
    assert set(gold["text"]) <= set(published("valid"))
    groups = near_duplicate_groups([*published("valid"), *published("test")], 0.8).tolist()
    free = {group for group in groups[:120] if group not in groups[120:]}
    assert gold.height >= len(free) * 0.95


def test_every_raw_comment_is_accounted_for(app):
    kept = pl.read_parquet(app.corpus).height + pl.read_parquet(app.test).height
    assert kept + pl.read_parquet(app.set_aside).height == pl.read_parquet(app.records).height == 1956
