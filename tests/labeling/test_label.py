import json

import numpy as np
import polars as pl
import pytest

from labeling.label import class_balance
from labeling.label_models import read_label_model
from labeling.provenance import explain
from ledger.errors import DataError
from tests.labeling.conftest import run_until


def test_class_balance_never_excludes_a_class():
    assert class_balance(np.array([0, 0], dtype=np.int8), 2).tolist() == [0.75, 0.25]
    assert class_balance(np.zeros(0, dtype=np.int8), 2) is None


def test_the_stage_writes_probabilities_for_every_row(small_app):
    run_until(small_app, "label")
    labels, corpus = pl.read_parquet(small_app.labels), pl.read_parquet(small_app.corpus)
    assert labels["row_id"].equals(corpus["row_id"])
    assert (labels["probabilities"].list.sum() - 1).abs().max() < 1e-5
    report = json.loads(small_app.functions_report.read_text())
    assert [f["name"] for f in report["functions"]] == ["praise", "blame", "shouts"]
    assert report["functions"][0]["accuracy_gold"] == 1.0
    assert report["functions"][0]["annotator_quality"] > 0.8
    assert report["calibration"]["gold_rows"] == (corpus["split"] == "gold").sum()
    assert 0 <= report["calibration"]["ece"] <= report["calibration"]["ece_interval"][1] <= 1


def test_every_row_keeps_which_functions_voted_what_and_with_which_weight(small_app):
    run_until(small_app, "label")
    votes = pl.read_parquet(small_app.votes)
    described = json.loads(pl.read_parquet_metadata(small_app.votes)["functions"])
    model = read_label_model(small_app.label_model)
    kept = pl.read_parquet(small_app.labels)["provenance"].to_list()
    for row, found in zip(votes.drop("row_id").rows(), kept, strict=True):
        assert [(vote["function"], vote["vote"]) for vote in found] == [(j, v) for j, v in enumerate(row) if v >= 0]
        explained = explain(np.array(row, dtype=np.int8), model, described, ["bad", "good"])
        names = {vote.function: vote.weight for vote in explained}
        assert names == {described[vote["function"]]["name"]: pytest.approx(vote["weight"], abs=1e-3) for vote in found}


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ('[keyword("a", "good", ["great"])]', "every vote is for 'good'; expected functions for at least two of"),
        ('[keyword("a", "good", ["zebra"])]', "no function votes on any train row"),
    ],
)
def test_votes_from_which_nothing_can_be_learned_are_refused(small_app, functions, expected):
    code = f"from labeling.functions import keyword\nFUNCTIONS = {functions}\n"
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        run_until(small_app, "label")
