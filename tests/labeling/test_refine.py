import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.features import text_features
from labeling.refine import refine, refine_with_gold, refine_without_gold
from labeling.refine.classifier import leave_one_out, leave_one_out_scores
from labeling.refine.without_gold import ballots_of, likely_accuracy

WORDS = ("alpha beta gamma delta", "one two three four", "red green blue white")


def planted(rows: int = 600, seed: int = 0, accuracy: float = 0.7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts of three classes, and three functions a class beside one that votes for class 0 on most rows: features, votes, truth."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, rows)
    common = ["the", "a", "of", "to", "in", "and", "it", "is", "on", "for"]
    texts = [
        " ".join([*draw.choice(WORDS[y].split(), 2), *draw.choice(common, 4), f"x{draw.integers(99)}"]) for y in truth
    ]
    matrix = np.full((rows, 10), -1, dtype=np.int8)
    for function in range(9):
        label = function // 3
        right = (truth == label) & (draw.random(rows) < 0.25)
        share = right.sum() * (1 - accuracy) / accuracy / (truth != label).sum()
        matrix[right | ((truth != label) & (draw.random(rows) < share)), function] = label
    matrix[draw.random(rows) < 0.7, 9] = 0
    return text_features(texts, None, 1), matrix, truth


def majority(matrix: np.ndarray) -> np.ndarray:
    return np.stack([(matrix == label).sum(axis=1) for label in range(3)], axis=1).argmax(axis=1)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_leaving_one_out_in_closed_form_is_fitting_without_the_row(seed):
    draw = np.random.default_rng(seed)
    features, targets = draw.normal(size=(12, 4)), draw.dirichlet(np.ones(3), size=12)
    weights = draw.choice([0.0, 0.5, 1.0, 5.0], size=12)
    scores = leave_one_out_scores(features, targets, weights, 2.0)
    x = np.hstack([features, np.ones((12, 1))])
    penalties = np.diag([2.0] * 4 + [1e-3])
    for row in range(12):
        others = np.delete(np.arange(12), row)
        weighted = x[others] * weights[others, None]
        fitted = np.linalg.solve(x[others].T @ weighted + penalties, weighted.T @ targets[others])
        assert scores[row] == pytest.approx(x[row] @ fitted, abs=1e-2 if weights[others].sum() < 2 else 1e-6)


def test_a_row_is_predicted_without_its_own_target():
    features, _, truth = planted(200)
    targets = np.eye(3)[truth]
    flipped = targets.copy()
    flipped[0] = np.roll(targets[0], 1)
    ones = np.ones(200)
    scores = [leave_one_out_scores(features, wanted, ones, 2.0)[0] for wanted in (targets, flipped)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
    assert leave_one_out(features, targets, ones, 2.0).sum(axis=1) == pytest.approx(1.0)


def test_a_function_that_votes_broadly_is_believed_less():
    matrix = np.full((100, 2), -1, dtype=np.int8)
    matrix[:90, 0] = 0
    matrix[:5, 1] = 1
    broad, narrow = likely_accuracy(ballots_of(matrix, 3))[[0, 4]]
    assert 1 / 3 < broad < 0.5 < narrow <= 0.75


def test_texts_correct_votes_and_label_rows_that_nothing_covers():
    features, matrix, truth = planted()
    matrix[:100] = -1
    found = refine_without_gold(matrix, features, 3)
    assert found.sum(axis=1) == pytest.approx(1.0)
    covered = (matrix >= 0).any(axis=1)
    assert (found.argmax(axis=1) == truth)[covered].mean() > (majority(matrix) == truth)[covered].mean() + 0.2
    assert (found.argmax(axis=1) == truth)[:100].mean() > 0.8


def test_votes_that_are_worth_nothing_are_outweighed_by_gold():
    features, matrix, truth = planted()
    matrix = np.random.default_rng(1).permutation(matrix)  # of other rows: noise
    weak = refine_without_gold(matrix, features, 3)
    gold_rows = np.arange(0, 600, 8)
    pooled = refine_with_gold(matrix, features, 3, weak, gold_rows, truth[gold_rows], 1)
    others = np.setdiff1d(np.arange(600), gold_rows)
    assert (weak.argmax(axis=1) == truth)[others].mean() < 0.6
    assert (pooled.probabilities.argmax(axis=1) == truth)[others].mean() > 0.85
    assert pooled.weights["gold_text"] > pooled.weights["votes"]
    assert (pooled.probabilities[gold_rows].argmax(axis=1) == truth[gold_rows]).all()


def test_gold_rows_are_measured_without_their_own_label():
    features, matrix, _ = planted()
    weak = refine_without_gold(matrix, features, 3)
    gold_rows = np.arange(0, 600, 2)
    invented = np.random.default_rng(2).integers(0, 3, len(gold_rows))
    pooled = refine_with_gold(matrix, features, 3, weak, gold_rows, invented, 1)
    # Labels drawn at random can be told by nobody who has not seen them.
    assert (pooled.held_out.argmax(axis=1) == invented).mean() < 0.47
    assert pooled.held_out.sum(axis=1) == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_bytes():
    features, matrix, truth = planted(200)
    runs = [
        refine_with_gold(matrix, features, 3, refine_without_gold(matrix, features, 3), np.arange(30), truth[:30], 1)
        for _ in range(2)
    ]
    assert runs[0].probabilities.tobytes() == runs[1].probabilities.tobytes()


def test_texts_are_heard_only_where_they_do_no_worse_on_gold():
    features, matrix, truth = planted()
    gold = np.where(np.arange(600) < 60, truth, -1).astype(np.int8)
    heard = refine(matrix, features, gold, 3, votes_f1=0.5, seed=1)
    assert heard.probabilities is not None and heard.report["used"]
    assert heard.report["macro_f1"] > 0.8 and 0 <= heard.report["ece"] <= 1
    kept = refine(matrix, features, gold, 3, votes_f1=1.01, seed=1)
    assert kept.probabilities is None and kept.report["why"] == "the votes alone do better on gold"
    alone = refine(matrix, features, np.full(600, -1, dtype=np.int8), 3, votes_f1=None, seed=1)
    assert alone.probabilities is not None and alone.report == {"used": True, "gold_rows": 0}


def test_a_handful_of_rows_keeps_the_votes():
    few = refine(np.zeros((5, 2), dtype=np.int8), np.zeros((5, 3), dtype=np.float32), np.full(5, -1), 2, None, 1)
    assert few.probabilities is None and few.report["why"] == "fewer than 20 rows"
