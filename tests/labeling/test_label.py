import json

import numpy as np
import polars as pl
import pytest

from labeling.label import LabelParameters, choose, class_balance
from ledger.errors import DataError
from tests.labeling.conftest import run_until
from tests.labeling.test_label_models import BALANCE, votes_of

AUTO = LabelParameters(model="auto", epochs=50, seed=1)


def test_auto_takes_the_best_on_gold():
    matrix, truth = votes_of([0.9, 0.85, 0.4, 0.38, 0.36], rows=1200)
    model, scores = choose(matrix[:1000], matrix[1000:], truth[1000:].astype(np.int8), BALANCE, AUTO)
    assert scores[model.kind] == max(scores.values())
    assert set(scores) == {"majority", "dawid_skene", "snorkel"}


def test_auto_without_gold_takes_snorkel_and_with_two_functions_dawid_skene():
    matrix, _ = votes_of([0.9, 0.8, 0.7], rows=300)
    none = np.zeros(0, dtype=np.int8)
    assert choose(matrix, matrix[:0], none, BALANCE, AUTO)[0].kind == "snorkel"
    assert choose(matrix[:, :2], matrix[:0, :2], none, BALANCE, AUTO)[0].kind == "dawid_skene"


def test_class_balance_never_excludes_a_class():
    assert class_balance(np.array([0, 0], dtype=np.int8), 2).tolist() == [0.75, 0.25]
    assert class_balance(np.zeros(0, dtype=np.int8), 2).tolist() == [0.5, 0.5]


def test_the_stage_writes_probabilities_for_every_row(small_app):
    run_until(small_app, "label")
    labels, corpus = pl.read_parquet(small_app.labels), pl.read_parquet(small_app.corpus)
    assert labels["row_id"].equals(corpus["row_id"])
    assert (labels["probabilities"].list.sum() - 1).abs().max() < 1e-5
    report = json.loads(small_app.functions_report.read_text())
    assert [f["name"] for f in report["functions"]] == ["praise", "blame", "shouts"]
    assert report["functions"][0]["accuracy_gold"] == 1.0


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
