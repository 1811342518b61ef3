import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from training.quality import accuracy, expected_calibration_error, intervals, macro_f1
from training.robustness import variants, with_typos

answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(answers)
def test_as_scikit_learn_scores(pairs: list[tuple[int, int]]):
    truth, predicted = np.array(pairs).T
    assert accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted))
    assert macro_f1(truth, predicted, 4) == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))


@settings(max_examples=20, deadline=None)
@given(answers)
def test_intervals_hold_the_accuracy(pairs: list[tuple[int, int]]):
    truth, predicted = np.array(pairs).T
    low, high = intervals(truth, predicted, 4, seed=1)["accuracy"]
    assert 0 <= low <= high <= 1
    assert low - 1e-9 <= accuracy(truth, predicted) <= high + 1e-9 or len(pairs) < 5


def test_intervals_repeat_themselves_and_narrow():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 1000)
    predicted = np.where(random.random(1000) < 0.9, truth, 1 - truth)
    ends = intervals(truth, predicted, 2, seed=1)
    assert ends == intervals(truth, predicted, 2, seed=1)
    assert 0.86 < ends["accuracy"][0] < 0.9 < ends["accuracy"][1] < 0.94


def test_calibration_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]])
    truth = np.array([0, 1, 1, 0])
    # two bins: confidence 0.95 against accuracy 0.5, and 0.65 against 0.5
    assert expected_calibration_error(truth, probabilities) == pytest.approx((0.45 + 0.15) / 2)


def test_no_rows():
    assert np.isnan(accuracy(np.array([]), np.array([]))) and np.isnan(macro_f1(np.array([]), np.array([]), 2))


@given(st.text(), st.integers(0, 3))
def test_typos_keep_the_words_apart(text: str, seed: int):
    changed = with_typos(text, np.random.default_rng(seed))
    assert len(changed.split(" ")) == len(text.split(" "))
    assert all(abs(len(a) - len(b)) <= 1 for a, b in zip(changed.split(" "), text.split(" "), strict=True))


def test_variants():
    texts = ["Subscribe to this wonderful channel immediately"] * 20
    found = variants(texts, seed=1)
    assert found == variants(texts, seed=1)
    assert found["typos"] != texts and found["upper_case"][0].isupper() and found["lower_case"][0].islower()
