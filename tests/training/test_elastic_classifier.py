import numpy as np
import pytest

from tests.training.conftest import TINY_SHAPE, random_ids, random_weights
from training.elastic_classifier import build, named_weights
from training.shape import slice_weights

SIZES = [(width, depth) for width in (4, 8, 12, 16) for depth in (1, 2)]


def test_shape_names_every_weight():
    model = build(TINY_SHAPE, random_weights(TINY_SHAPE))
    assert {name: value.shape for name, value in named_weights(model).items()} == TINY_SHAPE.weights()


@pytest.mark.parametrize(("width", "depth"), SIZES)
def test_slice_equals_the_plain_model_cut_out_of_it(width: int, depth: int):
    weights = random_weights(TINY_SHAPE)
    whole = build(TINY_SHAPE, weights)
    part = TINY_SHAPE.slice(width, depth)
    plain = build(part, slice_weights(weights, part))
    ids = random_ids(3, 9)
    ids[1, 5:] = 0
    sliced = np.asarray(whole(ids, width=width, depth=depth))
    np.testing.assert_allclose(np.asarray(plain(ids)), sliced, rtol=1e-5, atol=1e-6)
    assert plain.count_params() == sum(int(np.prod(size)) for size in part.weights().values())
    if (width, depth) != (16, 2):
        assert np.abs(sliced - np.asarray(whole(ids))).max() > 1e-3


def test_padding_changes_nothing():
    model = build(TINY_SHAPE, random_weights(TINY_SHAPE))
    ids = random_ids(2, 6)
    padded = np.pad(ids, ((0, 0), (0, 7)))
    np.testing.assert_allclose(np.asarray(model(padded)), np.asarray(model(ids)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "depth"), [(20, 1), (16, 3), (6, 1), (0, 1)])
def test_a_slice_must_be_a_part(width: int, depth: int):
    with pytest.raises(ValueError, match=f"width={width} and depth={depth} must be within 16 and 2"):
        TINY_SHAPE.slice(width, depth)
