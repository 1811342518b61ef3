import numpy as np
import pytest

from labeling.label_models import LabelModel, collapse, fit_hierarchical, fit_majority
from labeling.provenance import explain, provenance
from tests.labeling.test_label_models import votes_of

DESCRIBED = [{"name": "first"}, {"name": "second"}, {"name": "third"}]
LABELS = ["a", "b", "c"]


def test_the_weights_of_two_classes_add_up_to_the_log_odds():
    weights = np.log(np.array([[[0.9, 0.2], [0.1, 0.8]], [[0.7, 0.4], [0.3, 0.6]]]))
    model = LabelModel("dawid_skene", np.array([0.5, 0.5]), weights)
    votes = np.array([0, 1], dtype=np.int8)
    found = explain(votes, model, DESCRIBED, LABELS)
    assert [(vote.function, vote.label) for vote in found] == [("first", "a"), ("second", "b")]
    a, b = model.predict(votes[None, :])[0]
    assert found[0].weight - found[1].weight == pytest.approx(np.log(a / b), abs=1e-5)


def test_majoritys_weights_are_the_shares_of_the_row():
    matrix = np.array([[0, 0, 1], [-1, 2, -1]], dtype=np.int8)
    model = fit_majority(collapse(matrix, 3), None)
    assert [vote["weight"] for vote in provenance(matrix, model)[0]] == pytest.approx([1 / 3] * 3)


def test_a_row_without_votes_has_no_provenance_and_keeps_its_place():
    matrix, _ = votes_of([0.9, 0.8, 0.7], rows=400)
    matrix[7] = -1
    kept = provenance(matrix, fit_hierarchical(collapse(matrix, 3), None))
    assert kept.len() == 400
    assert kept[7].len() == 0
    assert kept.list.len().to_list() == (matrix >= 0).sum(axis=1).tolist()
    assert explain(matrix[7], fit_hierarchical(collapse(matrix, 3), None), DESCRIBED, LABELS) == []


def test_a_good_function_weighs_more_than_a_poor_one():
    matrix, _ = votes_of([0.95, 0.8, 0.5], rows=3000)
    model = fit_hierarchical(collapse(matrix, 3), None)
    found = {vote.function: vote.weight for vote in explain(np.zeros(3, dtype=np.int8), model, DESCRIBED, LABELS)}
    assert found["first"] > found["second"] > found["third"]
