import numpy as np
import pytest

from labeling.choice import WITHOUT_GOLD, choose, folds_of
from labeling.label_models import calibration_error, collapse, fit_calibration
from tests.labeling.test_label_models import BALANCE, KINDS, votes_of

NONE = np.zeros(0, dtype=np.int8)


def chosen(matrix, gold_matrix, gold, kind="auto", balance=BALANCE):
    return choose(collapse(matrix, 3), gold_matrix, gold, balance, kind, epochs=50, seed=1)


def test_auto_scores_every_kind_on_gold_and_takes_one_of_the_best():
    matrix, truth = votes_of([0.9, 0.85, 0.4, 0.38, 0.36], rows=1200)
    choice = chosen(matrix[:1000], matrix[1000:], truth[1000:].astype(np.int8))
    assert sorted(choice.scores) == KINDS
    assert choice.scores[choice.model.kind] >= max(choice.scores.values()) - 0.01
    assert choice.model.calibration is not None
    assert choice.calibration["gold_rows"] == 200


def test_among_equals_the_simplest_is_taken():
    matrix = np.tile(np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]], dtype=np.int8), (50, 1))
    truth = np.tile(np.array([0, 1, 2], dtype=np.int8), 50)
    assert chosen(matrix, matrix[:60], truth[:60]).model.kind == "majority"


def test_without_gold_auto_takes_the_default_and_nothing_is_measured():
    matrix, _ = votes_of([0.9, 0.8, 0.7], rows=300)
    choice = chosen(matrix, matrix[:0], NONE, balance=None)
    assert choice.model.kind == WITHOUT_GOLD
    assert (choice.scores, choice.calibration, choice.model.calibration) == ({}, {"gold_rows": 0}, None)


def test_two_functions_are_enough_for_auto():
    matrix, truth = votes_of([0.9, 0.8], rows=300)
    assert "snorkel" not in chosen(matrix, matrix[:50], truth[:50].astype(np.int8)).scores


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_is_named_is_taken(kind):
    matrix, truth = votes_of([0.9, 0.8, 0.7], rows=300)
    choice = chosen(matrix, matrix[:50], truth[:50].astype(np.int8), kind)
    assert choice.model.kind == kind
    assert list(choice.scores) == [kind]


def test_folds_have_each_class_in_turn_and_do_not_depend_on_anything_but_the_seed():
    gold = np.array([0] * 50 + [1] * 10)
    folds = folds_of(gold, 3)
    assert (np.bincount(folds[gold == 1]) == 2).all()
    assert np.array_equal(folds, folds_of(gold, 3))


def test_calibration_mends_probabilities_that_are_too_sure():
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 3, 3000)
    shown = np.where(draw.random(3000) < 0.7, truth, draw.integers(0, 3, 3000))
    probabilities = np.full((3000, 3), 0.005)
    probabilities[np.arange(3000), shown] = 0.99
    calibrated = fit_calibration(probabilities[:1500], truth[:1500]).apply(probabilities[1500:])
    assert calibration_error(probabilities[1500:], truth[1500:]) > 0.15
    assert calibration_error(calibrated, truth[1500:]) < 0.05
    assert np.allclose(calibrated.sum(axis=1), 1)


def test_a_handful_of_gold_rows_moves_the_calibration_little():
    calibration = fit_calibration(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    assert 0.5 < calibration.scale < 2
    assert (calibration.shift == 0).all()


def test_the_calibration_error_of_a_small_table_and_its_answer():
    probabilities = np.array([[0.8, 0.2]] * 20)
    truth = np.array([0] * 10 + [1] * 10)
    assert calibration_error(probabilities, truth) == pytest.approx(0.5)  # bins of ten: |1 - 0.8| and |0 - 0.8|
