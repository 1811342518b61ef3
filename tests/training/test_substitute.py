import json
from pathlib import Path

import numpy as np
import pytest

from ledger.errors import ConfigurationError, DataError
from ledger.meter import Usage
from ledger.parameters import read_parameters
from tests.training.conftest import PARAMETERS, Tree, tiny_training_set
from training import substitute
from training.artifact import read_card
from training.model_files import read_model
from training.runtime import load
from training.substitute import SubstituteParameters, augmented_texts, learn_from


@pytest.mark.parametrize("name", ["linear", "static", "convolution"])
def test_a_substitute_is_served_and_answers_like_the_teacher(trained: Tree, name: str):
    folder = trained.root / trained.places.substitutes / name
    classifier = load(folder)
    rows = tiny_training_set().rows
    gold = rows.filter(rows["split"] == "gold")
    right = classifier.predict(gold["text"].to_list()).argmax(axis=1) == gold["label"].to_numpy()
    assert right.mean() >= 0.9
    assert {path.name for path in folder.iterdir()} == {"card.json", "model.safetensors", "thresholds.json"}
    card = read_card(folder)
    assert (card.format, card.precision, card.role) == (name if name == "convolution" else "bag", "int8", "student")


def test_the_meter_counts_the_texts(trained: Tree):
    meter = json.loads((trained.root / trained.places.meter("substitute")).read_text())
    assert meter["figures"] == {"texts": 80, "augmented": 80, "models": 3} and meter["cpu_s"] > 0


def test_gold_rows_are_not_learned_and_weights_reach_the_targets(trained: Tree):
    training_set = tiny_training_set()
    rows = training_set.rows
    training_set = type(training_set)(training_set.labels, rows.with_columns(weight=rows["weight"] * 0.5))
    teacher = read_model(trained.root / trained.places.teacher, "teach")
    parameters = SubstituteParameters(**PARAMETERS["substitute"])
    logits = np.tile(np.array([[0.0, 0.0]], dtype=np.float32), (100, 1))
    lesson, originals = learn_from(training_set, logits, teacher, parameters)
    assert originals == 80 and lesson.texts[:80] == rows["text"].to_list()[:80]
    np.testing.assert_allclose(lesson.weights[:70], 0.5 + 0.5 * 0.5)
    np.testing.assert_allclose(lesson.weights[70:80], 0.5)  # unlabeled: the teacher alone
    np.testing.assert_allclose(lesson.targets[0], [(0.5 * 0.5 + 0.25 * 0.9) / 0.75, (0.5 * 0.5 + 0.25 * 0.1) / 0.75])
    np.testing.assert_allclose(lesson.targets[75], [0.5, 0.5])
    np.testing.assert_allclose(lesson.targets.sum(axis=1), 1, rtol=1e-5)


def test_augmented_texts_are_of_the_texts_words():
    made = augmented_texts(["where is my parcel ?", "", "refund"], 3, 8, np.random.default_rng(1))
    assert len(made) == 6 and all(made)
    assert {word for text in made for word in text.split()} <= {"where", "is", "my", "parcel", "?", "refund"}


def test_no_models_leave_an_empty_folder(tree: Tree):
    tree.parameters(substitute={"models": {}, "cascade": []})
    substitute.main(tree.places, Usage("substitute"))
    assert list(tree.places.substitutes.iterdir()) == [] and tree.places.meter("substitute").is_file()


def test_a_cascade_of_no_model_is_refused(tree: Tree):
    tree.parameters(substitute={"cascade": ["cnn"]})
    with pytest.raises(ConfigurationError, match="cnn"):
        read_parameters("substitute", SubstituteParameters, Path("params.yaml"))


def test_without_logits_it_says_to_run_teach(tree: Tree, trained: Tree):
    tree.places.teacher.parent.mkdir(parents=True)
    tree.places.teacher.symlink_to((trained.root / trained.places.teacher).resolve())
    with pytest.raises(DataError, match="run the stage 'teach' first"):
        substitute.main(tree.places, Usage("substitute"))
