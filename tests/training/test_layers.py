"""Each layer rebuilds from its configuration; each slice is a smaller layer; padding is never seen."""

import numpy as np
import pytest
from keras import ops

from training.layers.elastic_attention import ElasticAttention
from training.layers.elastic_block import ElasticBlock
from training.layers.elastic_dense import ElasticDense
from training.layers.elastic_embedding import ElasticEmbedding
from training.layers.elastic_normalization import ElasticNormalization
from training.layers.masked_mean_pooling import MaskedMeanPooling

LAYERS = [
    ElasticDense(8, 6, "relu"),
    ElasticNormalization(8, 1e-6),
    ElasticAttention(8, 2, 4),
    ElasticBlock(8, 2, 3, 20, "gelu_tanh", 1e-6, 0.1),
    ElasticEmbedding(10, 5, 8, 1e-6, 0.1),
    MaskedMeanPooling(),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_rebuilds_from_its_configuration(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    layer.build(None)
    again.build(None)
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in layer.weights]


def test_pooling_ignores_padding():
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=np.int32)
    pooled = MaskedMeanPooling()(x, mask)
    np.testing.assert_allclose(pooled[0], x[0, :3].mean(0), rtol=1e-5)
    np.testing.assert_allclose(pooled[1], x[1].mean(0), rtol=1e-5)
    changed = x.copy()
    changed[0, 3:] = 1e6
    np.testing.assert_array_equal(MaskedMeanPooling()(changed, mask), pooled)


def test_pooling_of_nothing_is_zero():
    assert not np.any(MaskedMeanPooling()(np.ones((1, 2, 3), np.float32), np.zeros((1, 2), np.int32)))


def test_dense_slice_is_the_corner_of_its_kernel():
    layer = ElasticDense(4, 3)
    layer.build()
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(
        layer(x, units=2), x @ np.asarray(layer.kernel)[:2, :2] + np.asarray(layer.bias)[:2], rtol=1e-5
    )


def test_normalization_uses_the_slices_own_mean():
    layer = ElasticNormalization(8, 1e-6)
    layer.build()
    y = np.asarray(layer(np.random.default_rng(0).normal(3, 2, size=(2, 4)).astype(np.float32)))
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(-1), 1, atol=1e-3)


def test_attention_does_not_see_hidden_tokens():
    layer = ElasticAttention(8, 2, 4)
    layer.build()
    x = np.random.default_rng(0).normal(size=(1, 4, 8)).astype(np.float32)
    hidden = np.array([[[0, 0, 0, -1e4]]], dtype=np.float32)
    changed = x.copy()
    changed[0, 3] = 50.0
    np.testing.assert_allclose(layer(x, hidden)[:, :3], layer(changed, hidden)[:, :3], rtol=1e-5)


def test_positions_are_counted_along_the_mask():
    layer = ElasticEmbedding(10, 5, 8, 1e-6, 0.0)
    layer.build()
    ids = np.array([[3, 3, 0]], dtype=np.int32)
    x = np.asarray(layer(ids, (ids != 0).astype(np.int32)))
    assert np.abs(x[0, 0] - x[0, 1]).max() > 1e-3  # one token, two positions
    assert np.isfinite(np.asarray(ops.sum(x)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ElasticDense(2, 2, "swish"), "activation='swish' must be one of"),
    ],
)
def test_errors_give_name_value_and_rule(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
