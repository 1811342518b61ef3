"""Each part of the loss is least where student and teacher agree, sees no padding, and weighs what it is told to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.conftest import TINY_SHAPE, random_ids, random_weights
from tests.training.test_importance import model_of
from training.distillation_losses import hidden_loss, relations_loss
from training.elastic_classifier import build
from training.elastic_training import Batch, ElasticTraining, Weights
from training.relations import last_attention

RANDOM = np.random.default_rng(0)
MASK = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], dtype=np.float32)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def test_hidden_states_are_compared_where_tokens_are():
    states = normal(2, 4, 6)
    other = states.copy()
    other[0, 3] += 100
    assert float(hidden_loss(states, other, MASK)) == 0
    other[1, 3] += 1
    assert float(hidden_loss(states, other, MASK)) == pytest.approx(1 / 7)


def test_relations_are_compared_across_widths():
    theirs = [normal(2, 4, 24) for _ in range(3)]
    assert float(relations_loss(theirs, theirs, MASK)) == pytest.approx(0, abs=1e-5)
    narrow = [normal(2, 4, 12) for _ in range(3)]
    assert float(relations_loss(narrow, theirs, MASK)) > 0.01
    padded = [part.copy() for part in theirs]
    for part in padded:
        part[0, 3] = 50  # padding
    assert float(relations_loss(padded, theirs, MASK)) == pytest.approx(0, abs=1e-5)


def batch(row_weights: list[float], width: int = 16) -> Batch:
    ids = random_ids(4, 6)
    labels = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    return Batch(ids, normal(4, 3), labels, np.asarray(row_weights, np.float32), normal(4, 6, 2 * width))


def training(weights: Weights, width: int | None = None) -> ElasticTraining:
    model = build(TINY_SHAPE, random_weights(TINY_SHAPE))
    attention = last_attention(model_of(random_weights(TINY_SHAPE, 3))) if weights.relations else None
    optimizer = keras.optimizers.Adam(0.01) if width else keras.optimizers.SGD(0.01)
    random = np.random.default_rng(0)
    return ElasticTraining(model, optimizer, [TINY_SHAPE.size], 2.0, weights, random, attention, width)


def test_the_trust_in_a_label_reaches_the_loss():
    def loss(row_weights: list[float]) -> float:
        keras.utils.set_random_seed(1)
        given = batch(row_weights)
        given.states = np.zeros((4, 0, 0), np.float32)
        return training(Weights(logits=0, labels=1)).step(given)

    assert loss([0, 0, 0, 0]) == 0
    keras.utils.set_random_seed(1)
    assert loss([2, 2, 2, 2]) == pytest.approx(2 * loss([1, 1, 1, 1]), rel=1e-5)


@pytest.mark.parametrize(
    "weights", [Weights(0, 0, 1, 0), Weights(0, 0, 0, 1), Weights(1, 1, 1, 1)], ids=["hidden", "relations", "all"]
)
@pytest.mark.parametrize("width", [16, 16 * 3])
def test_each_part_is_learned_from(weights: Weights, width: int):
    if weights.relations and width != 16:
        return
    keras.utils.set_random_seed(1)
    trained, given = training(weights, width), batch([1, 1, 1, 1], width)
    losses = [trained.step(given) for _ in range(40)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert tf.math.is_finite(losses[-1])
