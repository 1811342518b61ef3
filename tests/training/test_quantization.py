"""Whole numbers for weights: within half a step of what they stand for, and packed as both runtimes read them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.training.conftest import TINY_SHAPE, random_weights
from training.quantization import (
    BLOCK,
    activation_scale,
    block_spread,
    counted_places,
    kernel_and_bias,
    layers,
    nibbles,
    to_int4,
    to_int4_blocks,
    to_int8,
    uniform,
)

MATRICES = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 40)),
    elements=st.floats(-1000, 1000, width=32, allow_subnormal=False),
)


@given(MATRICES, st.sampled_from([7, 8]))
def test_int8_is_within_half_a_step(rows: np.ndarray, bits: int):
    whole, scales = to_int8(rows, bits)
    assert whole.dtype == np.int8 and np.abs(whole.astype(int)).max() <= 2 ** (bits - 1) - 1
    assert (np.abs(whole * scales[:, None] - rows) <= scales[:, None] * 0.501).all()


@given(MATRICES)
def test_int4_loses_no_more_than_the_widest_scale_would(rows: np.ndarray):
    whole, scales = to_int4(rows)
    assert np.abs(whole).max() <= 7
    widest_whole, widest = to_int8(rows, bits=4)
    lost, widest_lost = (
        np.square((w * s[:, None] - rows).astype(np.float64)).sum()
        for w, s in ((whole, scales), (widest_whole, widest))
    )
    assert lost <= widest_lost * 1.0001 + 1e-30


@given(MATRICES)
def test_a_table_in_int4_comes_back_by_its_blocks_scales(rows: np.ndarray):
    whole, scales, unit = to_int4_blocks(rows)
    assert whole.shape == rows.shape and scales.min() >= 1
    back = whole * (scales.astype(np.float32) @ block_spread(rows.shape[1], unit))
    step = np.repeat(scales.astype(np.float32) * unit, BLOCK, axis=1)[:, : rows.shape[1]]
    inside = np.abs(rows) <= 7 * step
    assert (np.abs(back - rows)[inside] <= step[inside] * 0.501).all()


@given(arrays(np.int8, st.integers(1, 33), elements=st.integers(-8, 7)))
def test_nibbles_hold_two_numbers_a_byte_the_first_below(whole: np.ndarray):
    packed = nibbles(whole)
    assert packed.dtype == np.uint8 and len(packed) == -(-len(whole) // 2)
    low, high = packed & 15, packed >> 4
    found = np.stack([low, high], axis=1).reshape(-1)[: len(whole)].astype(np.int8)
    np.testing.assert_array_equal(np.where(found > 7, found - 16, found), whole)


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_an_activation_of_zero_is_exact(one: float, other: float):
    scale, zero = activation_scale(min(one, other), max(one, other))
    assert -128 <= zero <= 127 and scale > 0
    assert (127 - zero) * scale >= max(one, other, 0) - scale and (-128 - zero) * scale <= min(one, other, 0) + scale


def test_query_key_and_value_are_one_layer_the_query_scaled():
    weights = random_weights(TINY_SHAPE)
    kernel, bias = kernel_and_bias(TINY_SHAPE, weights, "block_0/attention/input")
    width = weights["block_0/attention/query/kernel"].shape[1]
    np.testing.assert_allclose(
        kernel[:, :width] * 2, weights["block_0/attention/query/kernel"]
    )  # heads of 4 dimensions
    np.testing.assert_array_equal(kernel[:, 2 * width :], weights["block_0/attention/value/kernel"])
    assert bias.shape == (3 * width,)


def test_every_weight_but_normalizations_is_of_one_layer():
    names = {name.rpartition("/")[0] for name in TINY_SHAPE.weights() if name.endswith("/kernel")}
    covered = {layer for layer in layers(TINY_SHAPE) if not layer.endswith("/input")} - {"embedding"}
    parts = {f"block_{number}/attention/{part}" for number in range(2) for part in ("query", "key", "value")}
    assert covered | parts == names


def test_in_int4_the_head_has_int8():
    plan = uniform(TINY_SHAPE, "int4")
    assert {layer for layer, bits in plan.items() if bits != "int4"} == {"head"} and plan["head"] == "int8"


def test_the_first_position_is_counted_as_one():
    places = random_weights(TINY_SHAPE)["embedding/positions"]
    table = counted_places({"embedding/positions": places})
    np.testing.assert_array_equal(table[1:], places)
