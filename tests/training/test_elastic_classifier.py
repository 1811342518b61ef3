from itertools import product

import numpy as np
import pytest

from tests.training.conftest import TINY_SHAPE, random_ids, random_weights
from training.elastic_classifier import build, named_weights
from training.shape import Size, slice_weights

SIZES = [Size(*each) for each in product((5, 16), (1, 2), (1, 4), (7, 64))]


def test_shape_names_every_weight():
    model = build(TINY_SHAPE, random_weights(TINY_SHAPE))
    assert {name: value.shape for name, value in named_weights(model).items()} == TINY_SHAPE.weights()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_slice_equals_the_plain_model_cut_out_of_it(size: Size):
    weights = random_weights(TINY_SHAPE)
    whole = build(TINY_SHAPE, weights)
    part = TINY_SHAPE.slice(size)
    plain = build(part, slice_weights(weights, part))
    ids = random_ids(3, 9)
    ids[1, 5:] = 0
    sliced = np.asarray(whole(ids, size=size))
    np.testing.assert_allclose(np.asarray(plain(ids)), sliced, rtol=1e-5, atol=1e-6)
    assert plain.count_params() == sum(int(np.prod(size)) for size in part.weights().values())
    if size != TINY_SHAPE.size:
        assert np.abs(sliced - np.asarray(whole(ids))).max() > 1e-3


def test_padding_changes_nothing():
    model = build(TINY_SHAPE, random_weights(TINY_SHAPE))
    ids = random_ids(2, 6)
    padded = np.pad(ids, ((0, 0), (0, 7)))
    np.testing.assert_allclose(np.asarray(model(padded)), np.asarray(model(ids)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "size", [Size(20, 1, 4, 64), Size(16, 3, 4, 64), Size(16, 2, 5, 64), Size(16, 2, 4, 0)], ids=str
)
def test_a_slice_must_be_a_part(size: Size):
    with pytest.raises(ValueError, match=rf"a slice of {size} must be within w16-d2-h4-f64"):
        TINY_SHAPE.slice(size)
