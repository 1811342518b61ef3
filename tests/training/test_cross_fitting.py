"""Answers to texts by bags that were not trained on them, and what is made of these."""

import numpy as np

from tests.training.conftest import texts_and_labels
from training.bag_training import BagParameters, Lesson
from training.cross_fitting import OPINION, find_temperature, out_of_fold, with_second_opinion
from training.runtime import softmax

TEXTS, LABELS = texts_and_labels()
TARGETS = np.eye(2, dtype=np.float32)[LABELS]
WEIGHTS = np.ones(len(TEXTS), dtype=np.float32)
SMALL = OPINION.model_copy(update={"epochs": 8, "batch_size": 16})


def test_no_text_is_answered_by_a_bag_that_has_learned_it():
    """A text whose label is turned round, and that no other is like, is answered as the others say."""
    odd, turned = 17, TARGETS.copy()
    turned[odd] = turned[odd][::-1]
    logits = out_of_fold(Lesson(TEXTS, turned, WEIGHTS), 16, SMALL, 5, seed=1)
    right = logits.argmax(axis=1) == LABELS
    assert right.mean() > 0.9 and right[odd]


def test_one_fold_says_nothing():
    assert not out_of_fold(Lesson(TEXTS, TARGETS, WEIGHTS), 16, SMALL, 1, seed=1).any()


def test_the_temperature_undoes_a_scale():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 3))
    drawn = np.array([random.choice(3, p=row) for row in softmax(logits)])
    lesson = Lesson([""] * 4000, np.eye(3, dtype=np.float32)[drawn], np.ones(4000, np.float32))
    assert abs(find_temperature(logits * 3, lesson) - 3) < 0.3


def test_a_second_opinion_doubts_the_label_that_all_else_speaks_against():
    odd, turned = 17, TARGETS.copy()
    turned[odd] = turned[odd][::-1]
    mixed = with_second_opinion(TEXTS, turned, WEIGHTS, 0.5, 16, seed=1)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-5)
    believed = mixed[np.arange(len(TEXTS)), turned.argmax(axis=1)]
    assert believed.argmin() == odd and believed[odd] < 0.65 < np.median(believed)
    assert mixed.dtype == np.float32 and with_second_opinion(TEXTS, turned, WEIGHTS, 0.0, 16, seed=1) is turned


def test_the_opinion_is_a_bag_that_params_yaml_could_ask_for():
    assert BagParameters.model_validate(OPINION.model_dump()) == OPINION
