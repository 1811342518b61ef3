import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import CheckpointError
from tests.training.conftest import Tree, tiny_training_set
from training.artifact import read_card, served_bytes, write_card
from training.cascade import Threshold, find_threshold, make_cascade
from training.runtime import confidence, load

SIZES = ["w32-d1-h2-f32", "w32-d1-h4-f64", "w32-d2-h2-f32", "w32-d2-h4-f64"]
TEXTS = tiny_training_set().rows["text"].to_list()


@pytest.fixture
def parts(trained: Tree) -> tuple[Path, Path]:
    places = trained.places
    return (
        trained.root / places.substitutes / "static",
        trained.root / places.candidates / "student-w32-d2-h4-f64-onnx-int8",
    )


@given(st.integers(0, 10_000), st.floats(0.001, 0.5))
def test_the_first_keeps_to_its_budget_and_answers_all_it_may(seed: int, budget: float):
    random = np.random.default_rng(seed)
    logits = np.round(random.normal(size=(60, 3)), 1)  # ties
    teacher = random.integers(0, 3, 60)
    found = find_threshold(logits, teacher, budget)
    sure, wrong = confidence(logits), logits.argmax(axis=1) != teacher
    answered = sure >= found.threshold
    assert answered.mean() == pytest.approx(found.share)
    assert wrong[answered].sum() <= budget * 60
    for lower in np.unique(sure[~answered]):
        assert wrong[sure >= lower].sum() > budget * 60


def test_each_text_is_answered_by_the_model_the_threshold_names(parts: tuple[Path, Path], tmp_path: Path):
    first, second = (load(part).predict(TEXTS) for part in parts)
    threshold = float(np.median(first.max(axis=1)))
    card = make_cascade(*parts, tmp_path, Threshold(0.01, threshold, 0.5))
    folder = tmp_path / card.name
    served = load(folder)
    expected = np.where(first.max(axis=1, keepdims=True) >= threshold - 1e-6, first, second)
    together, alone = served.predict(TEXTS), np.concatenate([served.predict([text]) for text in TEXTS])
    np.testing.assert_allclose(together, expected, atol=0.03)  # int8 scales its activations over a batch
    np.testing.assert_allclose(alone, expected, atol=0.03)
    assert served_bytes(folder, card) > sum(served_bytes(part, read_card(part)) for part in parts)
    assert card.parameters == sum(read_card(part).parameters for part in parts)


@pytest.mark.parametrize(("threshold", "part"), [(0.0, 0), (2.0, 1)])
def test_a_threshold_at_an_end_leaves_all_to_one(parts: tuple[Path, Path], tmp_path: Path, threshold: float, part: int):
    card = make_cascade(*parts, tmp_path, Threshold(0.01, threshold, 1.0))
    np.testing.assert_allclose(load(tmp_path / card.name).predict(TEXTS), load(parts[part]).predict(TEXTS), atol=1e-6)
    assert load(tmp_path / card.name).predict([]).shape == (0, 2)


def test_compress_makes_a_cascade_of_each_student(trained: Tree):
    root, places = trained.root, trained.places
    budgets = json.loads((root / places.substitutes / "static" / "thresholds.json").read_text())
    assert [entry["budget"] for entry in budgets] == [0.05] and 0 < budgets[0]["share"] <= 1
    cards = [read_card(folder) for folder in (root / places.candidates).iterdir()]
    cascades = {card.name for card in cards if card.format == "cascade"}
    assert cascades == {f"static-0.05-student-{size}-litert-int8" for size in SIZES}


def test_parts_of_other_labels_are_refused(parts: tuple[Path, Path], tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    write_card(read_card(parts[1]).model_copy(update={"labels": ["a", "b"]}), other)
    with pytest.raises(CheckpointError, match="expected the labels of"):
        make_cascade(parts[0], other, tmp_path, Threshold(0.01, 0.5, 0.5))


def test_a_broken_threshold_is_named(parts: tuple[Path, Path], tmp_path: Path):
    card = make_cascade(*parts, tmp_path, Threshold(0.01, 0.5, 0.5))
    (tmp_path / card.name / "cascade.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"cascade\.json: not a cascade's thresholds"):
        load(tmp_path / card.name)
