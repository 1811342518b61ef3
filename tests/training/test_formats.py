"""What is exported answers as Keras does, in the plain runtimes, at any batch and length."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.training.conftest import TINY_SHAPE, random_ids, random_weights
from training.elastic_classifier import build
from training.litert_format import litert_bytes
from training.onnx_format import onnx_bytes
from training.runtime import _litert, _onnx

SHAPE = replace(TINY_SHAPE, width=64, feedforward=256, vocabulary=300, heads=4, positions=32)
GELU = replace(SHAPE, activation="gelu")
GELU_TANH = replace(SHAPE, activation="gelu_tanh")


def engine(form: str, precision: str, shape, folder: Path):
    weights = random_weights(shape)
    weights = {name: value * (0.3 if name.endswith("kernel") else 1.0) for name, value in weights.items()}
    model = build(shape, weights)
    path = folder / f"model.{form}"
    content = (
        litert_bytes(model, precision) if form == "litert" else onnx_bytes(shape, weights, precision, reduce_range=True)
    )
    path.write_bytes(content)
    return model, {"litert": _litert, "onnx": _onnx}[form](path, 1), content


@pytest.mark.parametrize("shape", [SHAPE, GELU, GELU_TANH], ids=["relu", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_float32_equals_keras_at_any_batch_and_length(form: str, shape, tmp_path: Path):
    model, run, _ = engine(form, "float32", shape, tmp_path)
    for rows, length in ((1, 3), (1, 31), (5, 7), (1, 4), (5, 7)):
        ids = random_ids(rows, length, 300, seed=length)
        ids[0, length - 1 :] = 0
        np.testing.assert_allclose(run(ids), np.asarray(model(ids)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_int8_is_close_and_small(form: str, tmp_path: Path):
    model, run, content = engine(form, "int8", SHAPE, tmp_path)
    ids = random_ids(64, 12, 300)
    expected, found = np.asarray(model(ids)), run(ids)
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.99
    assert (expected.argmax(1) == found.argmax(1)).mean() > 0.9
    floats = sum(int(np.prod(size)) for size in SHAPE.weights().values()) * 4
    assert len(content) < 0.5 * floats


def test_litert_needs_none_of_tensorflows_operations(tmp_path: Path):
    _, _, content = engine("litert", "int8", GELU, tmp_path)
    names = {operation["op_name"] for operation in Interpreter(model_content=content)._get_ops_details()}
    assert "FULLY_CONNECTED" in names
    assert not [name for name in names if name.startswith("Flex") or name == "CUSTOM"]


def test_onnx_needs_only_standard_operations(tmp_path: Path):
    engine("onnx", "float32", GELU, tmp_path)
    import onnx

    model = onnx.load(tmp_path / "model.onnx")
    assert {node.domain for node in model.graph.node} == {""}
    assert onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).get_inputs()[0].shape == ["batch", "length"]


@pytest.mark.parametrize("form", ["litert", "onnx"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_same_model_gives_the_same_bytes(form: str, precision: str, tmp_path: Path):
    assert engine(form, precision, TINY_SHAPE, tmp_path)[2] == engine(form, precision, TINY_SHAPE, tmp_path)[2]


def test_unknown_activation():
    shape = replace(TINY_SHAPE, activation="linear?")
    with pytest.raises(ValueError, match="has no ONNX operation"):
        onnx_bytes(shape, random_weights(shape), "float32", reduce_range=True)
