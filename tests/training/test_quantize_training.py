"""Training under the rounding gives back what few bits took; the rounding trained under is the one that is served."""

import numpy as np
import pytest
from keras import ops

from tests.training.conftest import TINY_SHAPE, random_ids, random_weights
from training.quantization import BLOCK, to_int4, to_int4_blocks, to_int8, uniform
from training.quantize import Limits, Quantizer, Texts
from training.quantize_probe import answer, open_model, probe
from training.quantize_training import cut_of, recover, rounded, rounded_activations

IDS = list(random_ids(256, 8))


def varied_weights(seed: int = 6) -> dict[str, np.ndarray]:
    """Random weights under which texts are answered differently: no bias decides for all."""
    weights = random_weights(TINY_SHAPE, seed)
    plain = {"gamma": 1.0, "beta": 0.0, "bias": 0.0}
    return {
        name: np.full_like(value, plain[end]) if (end := name.rpartition("/")[2]) in plain else value
        for name, value in weights.items()
    }


def kernel(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (40, 24)).astype(np.float32)


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_weights_are_rounded_as_they_will_be_written(bits: str):
    whole, scales = (to_int8 if bits == "int8" else to_int4)(kernel().T)
    np.testing.assert_allclose(
        np.asarray(rounded(bits, ops.convert_to_tensor(kernel()), False, cut_of(kernel(), False))),
        (whole * scales[:, None]).T,
        atol=1e-6,
    )


def test_tables_are_rounded_as_they_will_be_written():
    whole, scales, unit = to_int4_blocks(kernel())
    expected = whole * np.repeat(scales * unit, BLOCK, axis=1)[:, :24]
    assert np.abs(expected - kernel()).mean() < 0.1
    np.testing.assert_allclose(
        np.asarray(rounded("int4", ops.convert_to_tensor(kernel()), True, cut_of(kernel(), True))), expected, atol=1e-6
    )


def test_activations_have_256_levels_zero_among_them():
    x = np.random.default_rng(1).normal(3, 1, (2, 50, 8)).astype(np.float32)
    x[:, :5] = 0.0
    found = np.asarray(rounded_activations(ops.convert_to_tensor(x), None))
    assert np.abs(found - x).max() <= (x.max() - x.min()) / 255 * 1.01  # half a level, and zero's own rounding
    assert (found[:, :5] == 0).all()
    assert np.asarray(rounded_activations(ops.convert_to_tensor(x), (0.0, 2.0))).max() == pytest.approx(2.0)


def test_training_under_the_rounding_gives_back_what_int4_took():
    weights, plan = varied_weights(), uniform(TINY_SHAPE, "int4")
    reference = probe(TINY_SHAPE, weights, IDS[:64], None)
    quantizer = Quantizer(TINY_SHAPE, weights, Texts(IDS[:64], None, IDS[64:]), Limits(0.0, 32, False, 6, 1e-3, seed=1))
    for format_ in ("litert", "onnx"):
        before = quantizer._answer(format_, weights, plan)
        after = quantizer._answer(format_, quantizer._recovered("int4"), plan)
        assert reference.divergence(after) < 0.4 * reference.divergence(before)
        assert reference.lost(after) < reference.lost(before)


def test_recovery_repeats_itself_and_leaves_the_network_alone():
    weights = random_weights(TINY_SHAPE, seed=4)
    logits = probe(TINY_SHAPE, weights, IDS[:64], None).logits
    first, second = (
        recover(TINY_SHAPE, weights, uniform(TINY_SHAPE, "int4"), IDS[:64], logits, 1, 1e-3, seed=1) for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in weights)
    assert any(not np.array_equal(first[name], weights[name]) for name in weights)
    assert all(np.array_equal(value, random_weights(TINY_SHAPE, seed=4)[name]) for name, value in weights.items())


def test_what_holds_at_once_is_not_trained_again(monkeypatch: pytest.MonkeyPatch):
    quantizer = Quantizer(
        TINY_SHAPE, random_weights(TINY_SHAPE), Texts(IDS[:64], None, IDS), Limits(1.0, 8, True, 5, 1e-3, 1)
    )
    monkeypatch.setattr(quantizer, "_recovered", None)
    content, fitted = quantizer.content("onnx", "int4")
    assert fitted.put_back == {}
    assert answer(open_model("onnx", content), IDS[:2]).shape == (2, 3)
