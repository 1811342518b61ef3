"""Layers that cost too much are put back, the most harmful first, and no more of them than it takes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.conftest import TINY_SHAPE, random_ids, random_weights
from training.quantization import layers, uniform
from training.quantize import Limits, Quantizer, Texts, spread
from training.quantize_budget import fit
from training.quantize_probe import Probe, answer, open_model, probe, ranges

IDS = list(random_ids(200, 8))
LIMITS = Limits(budget=0.03, calibration=20, reduce_range=False, recovery_epochs=0, recovery_learning_rate=1e-3, seed=1)


def calm_weights() -> dict[str, np.ndarray]:
    weights = random_weights(TINY_SHAPE)
    return {name: value * np.float32(0.5 if name.endswith("kernel") else 1.0) for name, value in weights.items()}


def spoil(weights: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """One weight of each unit is so large that in few bits all the others are nothing."""
    spoilt = weights[name].copy()
    spoilt[0] = 0.0
    huge = np.zeros_like(spoilt)
    huge[0] = 60.0
    # The unit's input 0 is made nothing by its normalization, so that the float network does not notice.
    norm = name.replace("contract/kernel", "attention_norm").replace("expand/kernel", "attention_norm")
    silent = {f"{norm}/{part}": weights[f"{norm}/{part}"].copy() for part in ("gamma", "beta")}
    for vector in silent.values():
        vector[0] = 0.0
    return weights | silent | {name: spoilt + huge}


@pytest.mark.parametrize("format_", ["litert", "onnx"])
def test_the_layer_that_was_made_harmful_is_put_back(format_: str):
    weights = spoil(random_weights(TINY_SHAPE), "block_1/expand/kernel")
    quantizer = Quantizer(TINY_SHAPE, weights, Texts(IDS, None, IDS), LIMITS)
    content, fitted = quantizer.content(format_, "int8")
    assert list(fitted.put_back) == ["block_1/expand"] and fitted.put_back["block_1/expand"] == "float32"
    assert fitted.lost <= 0.03
    reference = probe(TINY_SHAPE, weights, IDS, None)
    assert reference.lost(answer(open_model(format_, content), IDS)) == fitted.lost


def test_nothing_more_is_measured_where_the_budget_holds_at_once():
    asked = []

    def unharmed(plan):
        asked.append(dict(plan))
        return reference.logits

    reference = probe(TINY_SHAPE, calm_weights(), IDS, None)
    assert fit(TINY_SHAPE, "int8", 0.0, unharmed, reference).put_back == {}
    assert asked == [uniform(TINY_SHAPE, "int8")]


def test_a_step_back_is_more_bits_before_it_is_floats():
    """Each layer in int4 turns one answer in ten; in int8 none."""
    reference = probe(TINY_SHAPE, calm_weights(), IDS, None)

    def worse(plan):
        turned = reference.logits.copy()
        share = sum(20 + number for number, layer in enumerate(layers(TINY_SHAPE)) if plan[layer] == "int4")
        turned[:share] = np.roll(turned[:share], 1, axis=1)
        return turned

    fitted = fit(TINY_SHAPE, "int4", 0.15, worse, reference)
    assert set(fitted.put_back.values()) == {"int8"} and fitted.lost <= 0.15
    assert list(fitted.put_back) == layers(TINY_SHAPE)[:-1][-len(fitted.put_back) :]  # the last ones turn most


def test_a_budget_that_nothing_keeps_ends_at_floats():
    reference = probe(TINY_SHAPE, calm_weights(), IDS, None)
    fitted = fit(TINY_SHAPE, "int4", 0.0, lambda _: -reference.logits, reference)
    assert fitted.plan == uniform(TINY_SHAPE, "float32") and fitted.lost > 0


def test_what_is_lost_is_macro_f1_or_the_share_of_changed_answers_whichever_is_less():
    logits = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]], dtype=np.float32)
    other = logits[[0, 1, 2, 1]]
    assert Probe(IDS[:4], None, logits).lost(other) == 0.25
    assert Probe(IDS[:4], np.array([0, 0, 1, 1]), logits).lost(other) == 0.25  # 0.267 of macro-F1
    assert Probe(IDS[:4], np.array([1, 1, 0, 0]), logits).lost(other) < 0  # an answer that turned right is no loss
    assert Probe(IDS[:4], np.array([0, 0]), logits).lost(other) == 0  # those labeled are answered as before


def test_the_smaller_file_that_keeps_the_budget_is_taken(monkeypatch: pytest.MonkeyPatch):
    """A network that training spoilt is not taken, though it was trained."""
    weights = spoil(random_weights(TINY_SHAPE), "block_1/expand/kernel")
    quantizer = Quantizer(TINY_SHAPE, weights, Texts(IDS, None, IDS), replace(LIMITS, recovery_epochs=1))
    untrained = Quantizer(TINY_SHAPE, weights, Texts(IDS, None, IDS), LIMITS).content("onnx", "int8")
    monkeypatch.setattr(quantizer, "_recovered", lambda _: random_weights(TINY_SHAPE, seed=5))
    assert quantizer.content("onnx", "int8") == untrained
    harmless = weights | {"block_1/expand/kernel": np.delete(weights["block_1/expand/kernel"], 0, 0)}
    harmless["block_1/expand/kernel"] = np.pad(harmless["block_1/expand/kernel"], ((1, 0), (0, 0)))
    monkeypatch.setattr(quantizer, "_recovered", lambda _: harmless)  # what is spoilt is cured: nothing to put back
    content, fitted = quantizer.content("onnx", "int8")
    assert fitted.put_back == {} and len(content) < len(untrained[0])


def test_ranges_hold_what_the_network_saw():
    weights = calm_weights()
    found = ranges(TINY_SHAPE, weights, IDS)
    assert set(found) == {f"{layer}/{end}" for layer in layers(TINY_SHAPE)[1:] for end in ("in", "out")}
    assert found["block_0/contract/in"][0] == 0.0 < found["block_0/contract/in"][1]  # after ReLU
    logits = probe(TINY_SHAPE, weights, IDS, None).logits
    np.testing.assert_allclose(found["head/out"], (logits.min(), logits.max()), rtol=1e-4)


def test_spread_is_even_and_at_most_all():
    assert spread(IDS[:3], 10) == IDS[:3]
    assert [id(text) for text in spread(IDS, 3)] == [id(IDS[0]), id(IDS[100]), id(IDS[199])]
