import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labeling.label_models import (
    fit_dawid_skene,
    fit_majority,
    fit_snorkel,
    read_label_model,
    write_label_model,
)
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


@given(MATRICES)
@settings(deadline=None)
def test_probabilities_are_probabilities(matrix):
    for fit in (fit_majority, fit_dawid_skene):
        probabilities = fit(matrix, BALANCE).predict(matrix)
        assert probabilities.shape == (len(matrix), 3)
        assert np.allclose(probabilities.sum(axis=1), 1)
        assert (probabilities >= 0).all()


@given(MATRICES)
@settings(deadline=None)
def test_a_row_without_votes_gets_the_class_balance(matrix):
    nothing = np.full((1, matrix.shape[1]), -1, dtype=np.int8)
    for fit in (fit_majority, fit_dawid_skene):
        assert np.allclose(fit(matrix, BALANCE).predict(nothing), BALANCE)


@given(MATRICES, st.randoms())
@settings(deadline=None)
def test_the_order_of_rows_does_not_matter(matrix, draw):
    order = list(range(len(matrix)))
    draw.shuffle(order)
    one, other = fit_dawid_skene(matrix, BALANCE), fit_dawid_skene(matrix[order], BALANCE)
    assert np.allclose(one.predict(matrix), other.predict(matrix))


def test_majority_shares_a_tie():
    matrix = np.array([[0, 1, -1], [2, 2, 1]], dtype=np.int8)
    model = fit_majority(matrix, BALANCE)
    assert np.allclose(model.predict(matrix), [[0.5, 0.5, 0], [0, 1 / 3, 2 / 3]])


def test_dawid_skene_finds_out_the_poor_function_and_beats_majority():
    matrix, truth = votes_of([0.9, 0.85, 0.4, 0.38, 0.36])
    balance = BALANCE
    majority = fit_majority(matrix, balance).predict(matrix).argmax(axis=1)
    skene = fit_dawid_skene(matrix, balance).predict(matrix).argmax(axis=1)
    assert (skene == truth).mean() > (majority == truth).mean() + 0.02


def test_snorkels_own_probabilities_come_out():
    from snorkel.labeling.model import LabelModel

    matrix, _ = votes_of([0.9, 0.8, 0.7, 0.6])
    ours = fit_snorkel(matrix, BALANCE, epochs=100, seed=1).predict(matrix)
    theirs = LabelModel(cardinality=3, verbose=False)
    theirs.fit(matrix, class_balance=BALANCE.tolist(), n_epochs=100, seed=1, progress_bar=False)
    assert np.abs(ours - theirs.predict_proba(matrix)).max() < 1e-4


def test_snorkel_needs_three_functions():
    with pytest.raises(DataError, match="needs at least 3 labeling functions"):
        fit_snorkel(np.zeros((5, 2), dtype=np.int8), np.array([0.5, 0.5]), 10, 1)


def test_a_label_model_survives_its_file(tmp_path):
    matrix, _ = votes_of([0.9, 0.8, 0.7])
    model = fit_dawid_skene(matrix, BALANCE)
    write_label_model(model, tmp_path / "m.json")
    assert np.allclose(read_label_model(tmp_path / "m.json").predict(matrix), model.predict(matrix), atol=1e-3)
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(DataError, match="expected a label model"):
        read_label_model(tmp_path / "m.json")
    with pytest.raises(DataError, match="not found; run the stage 'label' first"):
        read_label_model(tmp_path / "no.json")
