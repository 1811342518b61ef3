from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labeling.label_models import (
    collapse,
    fit_calibration,
    fit_snorkel,
    fits,
    read_label_model,
    write_label_model,
)
from labeling.label_models.agreement import agreement_of, copy_groups, vote_shares
from ledger.errors import DataError

MATRICES = st.tuples(st.integers(1, 30), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(-1, 2))
)
BALANCE = np.array([0.5, 0.3, 0.2])


def votes_of(accuracies, rows=2000, classes=3, coverage=0.7, seed=0):
    """Votes of functions of known accuracy, with the truth."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(classes, rows, p=BALANCE)
    matrix = np.full((rows, len(accuracies)), -1, dtype=np.int8)
    for j, accuracy in enumerate(accuracies):
        wrong = (truth + draw.integers(1, classes, rows)) % classes
        vote = np.where(draw.random(rows) < accuracy, truth, wrong)
        matrix[:, j] = np.where(draw.random(rows) < coverage, vote, -1)
    return matrix, truth


ALL = fits(epochs=300, seed=1)
KINDS = sorted(ALL)


def fitted(kind, matrix, balance=BALANCE, classes=3):
    return ALL[kind](collapse(matrix, classes), balance)


@given(MATRICES, st.sampled_from(KINDS), st.sampled_from([None, BALANCE]))
@settings(deadline=None)
def test_probabilities_are_probabilities_and_a_row_without_votes_gets_the_balance(matrix, kind, balance):
    if kind == "snorkel" and matrix.shape[1] < 3:
        return
    model = fitted(kind, matrix, balance)
    probabilities = model.predict(np.vstack([matrix, np.full((1, matrix.shape[1]), -1, dtype=np.int8)]))
    assert probabilities.shape == (len(matrix) + 1, 3)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities >= 0).all()
    assert np.allclose(probabilities[-1], model.balance)
    assert balance is None or np.allclose(model.balance, balance)


@given(MATRICES, st.randoms(), st.sampled_from(KINDS))
@settings(deadline=None)
def test_the_order_of_rows_does_not_matter(matrix, draw, kind):
    if kind == "snorkel" and matrix.shape[1] < 3:
        return
    order = list(range(len(matrix)))
    draw.shuffle(order)
    one, other = fitted(kind, matrix), fitted(kind, matrix[order])
    assert np.allclose(one.predict(matrix), other.predict(matrix), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_are_predicted_as_their_rows_are(kind):
    matrix, _ = votes_of([0.9, 0.8, 0.7], rows=500)
    patterns = collapse(matrix, 3)
    model = ALL[kind](patterns, BALANCE)
    assert np.allclose(patterns.rows(model.predict_patterns(patterns)), model.predict(matrix))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("balance", [None, BALANCE])
def test_every_model_is_far_better_than_chance_and_no_class_disappears(kind, balance):
    matrix, truth = votes_of([0.85, 0.8, 0.75, 0.7, 0.65], rows=4000)
    found = fitted(kind, matrix, balance).predict(matrix).argmax(axis=1)
    assert (found == truth).mean() > 0.8
    assert (np.bincount(found, minlength=3) > 400).all()


def test_votes_of_other_functions_or_classes_are_refused():
    matrix, _ = votes_of([0.9, 0.8, 0.7], rows=50)
    model = fitted("majority", matrix)
    with pytest.raises(DataError, match="was fitted on 3 functions and 3 classes; expected votes of these, not of 2"):
        model.predict(matrix[:, :2])
    with pytest.raises(DataError, match="with votes up to 3"):
        model.predict(np.full((1, 3), 3, dtype=np.int8))


def test_majority_shares_a_tie():
    matrix = np.array([[0, 1, -1], [2, 2, 1]], dtype=np.int8)
    model = fitted("majority", matrix)
    assert np.allclose(model.predict(matrix), [[0.5, 0.5, 0], [0, 1 / 3, 2 / 3]])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"majority"}))
def test_poor_functions_are_found_out(kind):
    matrix, truth = votes_of([0.9, 0.85, 0.4, 0.38, 0.36])
    majority = fitted("majority", matrix).predict(matrix).argmax(axis=1)
    found = fitted(kind, matrix).predict(matrix).argmax(axis=1)
    assert (found == truth).mean() > (majority == truth).mean() + 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_near_copies_of_a_bad_function_do_not_outvote_three_good_ones(kind):
    matrix, truth = votes_of([0.8, 0.8, 0.8, 0.5], rows=4000, coverage=0.9)
    draw = np.random.default_rng(7)
    copies = np.repeat(matrix[:, [3]], 5, axis=1)
    changed = draw.random(copies.shape) < 0.02
    copies = np.where(changed & (copies >= 0), draw.integers(0, 3, copies.shape), copies).astype(np.int8)
    alone = fitted(kind, matrix).predict(matrix)
    copied = fitted(kind, np.hstack([matrix[:, :3], copies])).predict(np.hstack([matrix[:, :3], copies]))
    assert (copied.argmax(axis=1) == truth).mean() > (alone.argmax(axis=1) == truth).mean() - 0.01


def test_accurate_functions_that_err_independently_are_no_copies():
    matrix, _ = votes_of([0.98, 0.98, 0.9, 0.8, 0.7], rows=5000, coverage=1.0)
    assert np.allclose(vote_shares(copy_groups(agreement_of(collapse(matrix, 3)))), 1.0)


def test_copies_that_vote_for_one_class_are_told_by_the_rows_they_choose():
    draw = np.random.default_rng(0)
    one = np.where(draw.random(2000) < 0.1, 1, -1)
    other = np.where(draw.random(2000) < 0.1, 1, -1)
    groups = copy_groups(agreement_of(collapse(np.stack([one, other, one], axis=1).astype(np.int8), 3)))
    assert groups[0] == groups[2] != groups[1]


def test_snorkels_own_probabilities_come_out():
    from snorkel.labeling.model import LabelModel

    for accuracies, balance in (([0.9, 0.8, 0.7, 0.6], BALANCE), ([0.9, 0.3, 0.7, 0.2, 0.2], np.full(3, 1 / 3))):
        matrix, _ = votes_of(accuracies)
        ours = fit_snorkel(collapse(matrix, 3), balance, epochs=100, seed=1).predict(matrix)
        theirs = LabelModel(cardinality=3, verbose=False)
        theirs.fit(matrix, class_balance=balance.tolist(), n_epochs=100, seed=1, progress_bar=False)
        assert np.abs(ours - theirs.predict_proba(matrix)).max() < 1e-4


def test_many_functions_and_classes_take_the_sparse_way_to_the_same_answer(monkeypatch):
    matrix, _ = votes_of([0.9, 0.8, 0.7, 0.6], rows=800)
    dense = {kind: fitted(kind, matrix).predict(matrix) for kind in KINDS}
    monkeypatch.setattr("labeling.label_models.patterns.DENSE_SYMBOLS", 3)
    for kind, expected in dense.items():
        assert np.allclose(fitted(kind, matrix).predict(matrix), expected, atol=1e-5), kind


@pytest.mark.parametrize("below", [0.0, 1e9])
def test_moments_are_counted_exactly_by_both_products(monkeypatch, below):
    matrix, _ = votes_of([0.9, 0.8, 0.7], rows=3000)
    monkeypatch.setattr("labeling.label_models.patterns.SPARSE_BELOW", below)
    hot = (matrix[:, :, None] == np.arange(3)).reshape(len(matrix), -1).astype(float)
    assert np.array_equal(collapse(matrix, 3).moments, hot.T @ hot)


def test_snorkel_needs_three_functions():
    with pytest.raises(DataError, match="needs at least 3 labeling functions"):
        fit_snorkel(collapse(np.zeros((5, 2), dtype=np.int8), 2), np.array([0.5, 0.5]), 10, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_model_survives_its_file(tmp_path, kind):
    matrix, truth = votes_of([0.9, 0.8, 0.7])
    model = fitted(kind, matrix)
    calibrated = replace(model, dependence=0.1, calibration=fit_calibration(model.predict(matrix), truth))
    write_label_model(calibrated, tmp_path / "m.json")
    read = read_label_model(tmp_path / "m.json")
    assert np.allclose(read.predict(matrix), calibrated.predict(matrix), atol=1e-3)


@pytest.mark.parametrize("content", ["{}", "[]", '{"kind": 1', "7"])
def test_a_file_that_is_no_label_model_is_refused(tmp_path, content):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(DataError, match="expected a label model"):
        read_label_model(tmp_path / "m.json")
    with pytest.raises(DataError, match="not found; run the stage 'label' first"):
        read_label_model(tmp_path / "no.json")


@pytest.mark.parametrize("balance", [None, np.array([0.92, 0.08])])
def test_functions_of_one_class_each_do_not_collapse_under_imbalance(balance):
    # snorkel-team/snorkel#1713: a label model that loses to majority, or gives every row to one class.
    draw = np.random.default_rng(3)
    truth = (draw.random(4000) < 0.08).astype(int)
    matrix = np.full((4000, 8), -1, dtype=np.int8)
    for j in range(8):
        label = j % 2
        chance = np.where(truth == label, 0.3, 0.02 if label else 0.05)
        matrix[draw.random(4000) < chance, j] = label
    covered = (matrix >= 0).any(axis=1)
    scores = {}
    for kind in ("majority", "hierarchical"):
        found = fitted(kind, matrix, balance, classes=2).predict(matrix).argmax(axis=1)[covered]
        scores[kind] = (found == truth[covered]).mean()
        assert 0.3 < (found == 1).sum() / truth[covered].sum() < 3
    # Not knowing that one class is so rare costs something; knowing it must not.
    assert scores["hierarchical"] >= scores["majority"] - (0.05 if balance is None else 0.01)
