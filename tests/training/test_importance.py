"""What matters comes first, and putting it there changes no answer."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.conftest import TINY_SHAPE, random_ids, random_weights
from training.elastic_classifier import build
from training.importance import keep_layers, measure_importance, reorder
from training.model_files import Model

SEQUENCES = list(random_ids(40, 7))
TARGETS = np.eye(3, dtype=np.float32)[np.random.default_rng(1).integers(0, 3, 40)]


def model_of(weights: dict[str, np.ndarray]) -> Model:
    return Model(("a", "b", "c"), 16, (TINY_SHAPE.size,), TINY_SHAPE, weights, None)  # type: ignore[arg-type]


def test_order_changes_no_answer():
    weights = random_weights(TINY_SHAPE)
    importance = measure_importance(model_of(weights), SEQUENCES, TARGETS)
    ordered = reorder(TINY_SHAPE, weights, importance)
    ids = random_ids(3, 9)
    np.testing.assert_allclose(
        np.asarray(build(TINY_SHAPE, ordered)(ids)), np.asarray(build(TINY_SHAPE, weights)(ids)), rtol=1e-4, atol=1e-5
    )
    assert not np.array_equal(ordered["block_0/expand/kernel"], weights["block_0/expand/kernel"])


def test_what_does_nothing_comes_last():
    weights = random_weights(TINY_SHAPE)
    weights["block_1/contract/kernel"][5] = 0  # a neuron that nobody hears
    weights["block_0/attention/output/kernel"][8:12] = 0  # so is the third head
    importance = measure_importance(model_of(weights), SEQUENCES, TARGETS)
    assert importance.neurons[1][5] == 0 < np.delete(importance.neurons[1], 5).mean()
    assert importance.heads[0].argmin() == 2 and importance.heads[0][2] == 0
    ordered = reorder(TINY_SHAPE, weights, importance)
    assert not ordered["block_0/attention/output/kernel"][-4:].any()


def test_taking_out_what_matters_least_hurts_least():
    weights = random_weights(TINY_SHAPE)
    importance = measure_importance(model_of(weights), SEQUENCES, TARGETS)
    ids = np.stack(SEQUENCES)
    whole = np.asarray(build(TINY_SHAPE, weights)(ids))

    def harm(neurons: np.ndarray) -> float:
        cut = dict(weights)
        cut["block_1/contract/kernel"] = weights["block_1/contract/kernel"].copy()
        cut["block_1/contract/kernel"][neurons] = 0
        return float(np.abs(np.asarray(build(TINY_SHAPE, cut)(ids)) - whole).mean())

    order = np.argsort(importance.neurons[1])
    assert harm(order[:20]) < harm(order[-20:])


@pytest.mark.parametrize("layers", [(1,), (0,), (0, 1)])
def test_layers_are_kept_by_number(layers: tuple[int, ...]):
    weights = random_weights(TINY_SHAPE)
    kept = keep_layers(model_of(weights), layers)
    assert kept.shape == replace(TINY_SHAPE, depth=len(layers))
    assert set(kept.weights) == set(kept.shape.weights())
    np.testing.assert_array_equal(kept.weights["block_0/expand/kernel"], weights[f"block_{layers[0]}/expand/kernel"])
