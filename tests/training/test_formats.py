"""What is exported answers as Keras does, in the plain runtimes, at any batch and length."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.training.conftest import TINY_SHAPE, random_ids, random_weights
from training.elastic_classifier import build
from training.litert_format import litert_bytes
from training.onnx_format import onnx_bytes
from training.quantization import layers, uniform
from training.quantize_probe import open_model, ranges
from training.runtime import litert_engine, onnx_engine

SHAPE = replace(TINY_SHAPE, width=64, feedforward=200, vocabulary=300, heads=3, head_width=16, positions=32)
PRECISIONS = ["float32", "int8", "int8_static", "int4"]
GELU = replace(SHAPE, activation="gelu")
GELU_TANH = replace(SHAPE, activation="gelu_tanh")
ADAPTED = replace(SHAPE, activation="gelu", adapter=8, pooling="cls")


def scaled_weights(shape):
    weights = random_weights(shape)
    return {name: value * np.float32(0.3 if name.endswith("kernel") else 1.0) for name, value in weights.items()}


def written(form: str, plan, shape, weights, **how) -> bytes:
    known = (
        ranges(shape, weights, list(random_ids(200, 12, shape.vocabulary, seed=9)))
        if "int8_static" in plan.values()
        else None
    )
    return (
        litert_bytes(shape, weights, plan, known)
        if form == "litert"
        else onnx_bytes(shape, weights, plan, known, **how)
    )


def engine(form: str, precision: str, shape, folder: Path):
    weights = scaled_weights(shape)
    path = folder / f"model.{form}"
    content = written(form, uniform(shape, precision), shape, weights)
    path.write_bytes(content)
    return build(shape, weights), {"litert": litert_engine, "onnx": onnx_engine}[form](path, 1), content


@pytest.mark.parametrize("shape", [SHAPE, GELU, GELU_TANH, ADAPTED], ids=["relu", "gelu", "gelu_tanh", "adapted"])
@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_float32_equals_keras_at_any_batch_and_length(form: str, shape, tmp_path: Path):
    model, run, _ = engine(form, "float32", shape, tmp_path)
    for rows, length in ((1, 3), (1, 31), (5, 7), (1, 4), (5, 7)):
        ids = random_ids(rows, length, 300, seed=length)
        ids[0, length - 1 :] = 0
        np.testing.assert_allclose(run(ids), np.asarray(model(ids)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("precision", "correlation", "agreement", "size"),
    [("int8", 0.995, 0.95, 0.32), ("int8_static", 0.99, 0.9, 0.32), ("int4", 0.9, 0.75, 0.22)],
)
@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_few_bits_are_close_and_small(
    form: str, precision: str, correlation: float, agreement: float, size: float, tmp_path: Path
):
    shape = replace(SHAPE, vocabulary=3000)
    model, run, content = engine(form, precision, shape, tmp_path)
    ids = random_ids(64, 12, 3000)
    expected, found = np.asarray(model(ids)), np.concatenate([run(row[None]) for row in ids])
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > correlation
    assert (expected.argmax(1) == found.argmax(1)).mean() >= agreement
    assert len(content) < size * 4 * sum(int(np.prod(size)) for size in shape.weights().values())


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_both_formats_round_alike(precision: str, tmp_path: Path):
    ids = random_ids(1, 9, 300)
    answers = [engine(form, precision, GELU, tmp_path)[1](ids) for form in ("litert", "onnx")]
    np.testing.assert_allclose(*answers, atol=0.1 * np.abs(answers[0]).max())


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_in_litert_an_answer_does_not_depend_on_its_batch(precision: str, tmp_path: Path):
    _, run, _ = engine("litert", precision, SHAPE, tmp_path)
    ids = random_ids(5, 9, 300)
    ids[2, 4:] = 0
    together, alone = run(ids), np.concatenate([run(row[None]) for row in ids])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run(ids[2:3, :4]), alone[2:3], rtol=1e-4, atol=1e-5)  # nor on padding


@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_each_layer_has_the_precision_of_the_plan(form: str):
    """A layer changes the answers only where its own weights are rounded, and its bytes shrink."""
    weights = scaled_weights(SHAPE)
    whole = written(form, uniform(SHAPE, "float32"), SHAPE, weights)
    ids = random_ids(1, 9, 300)
    expected = open_model(form, whole)(ids)[0]
    for layer in layers(SHAPE):
        content = written(form, uniform(SHAPE, "float32") | {layer: "int4"}, SHAPE, weights)
        assert len(content) < len(whole) or layer == "head"  # three units are less than what scales them
        assert np.abs(open_model(form, content)(ids)[0] - expected).max() > 1e-5


@pytest.mark.parametrize("form", ["litert", "onnx"])
@pytest.mark.parametrize("width", [15, 40])
def test_int4_where_the_width_is_odd_or_ends_within_a_block(form: str, width: int):
    shape = replace(TINY_SHAPE, width=width, heads=5, head_width=3, feedforward=2 * width)
    weights = scaled_weights(shape)
    ids = random_ids(3, 9)
    found = open_model(form, written(form, uniform(shape, "int4"), shape, weights))(ids)[0]
    assert np.corrcoef(found.ravel(), np.asarray(build(shape, weights)(ids)).ravel())[0, 1] > 0.8


def test_of_an_int8_table_only_the_rows_that_are_read_become_floats():
    shape = replace(TINY_SHAPE, vocabulary=50_000, width=64, feedforward=64)
    weights = random_weights(shape)
    content = litert_bytes(shape, weights, uniform(shape, "int8"))
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    made = [d for d in interpreter.get_tensor_details() if d["dtype"] == np.float32 and np.prod(d["shape"]) > 50_000]
    assert not made
    nodes = {
        node.output[0]: node
        for node in onnx.load_from_string(onnx_bytes(shape, weights, uniform(shape, "int8"))).graph.node
    }
    assert nodes["embedding/tokens/whole_as_float"].input[0] == "embedding/tokens/whole"
    assert nodes["embedding/tokens/whole"].op_type == "Gather"


def test_seven_bits_never_overflow_two_products():
    """255 x weight, twice, has to fit 16 bits: what a CPU without VNNI adds up in."""
    model = onnx.load_from_string(
        written("onnx", uniform(SHAPE, "int8"), SHAPE, scaled_weights(SHAPE), reduce_range=True)
    )
    full = onnx.load_from_string(
        written("onnx", uniform(SHAPE, "int8"), SHAPE, scaled_weights(SHAPE), reduce_range=False)
    )
    greatest = [
        max(
            int(np.abs(onnx.numpy_helper.to_array(constant).astype(int)).max())
            for constant in graph.graph.initializer
            if constant.name.endswith("/kernel")
        )
        for graph in (model, full)
    ]
    assert greatest == [63, 127] and 2 * 255 * greatest[0] < 2**15 < 2 * 255 * greatest[1]


def test_litert_needs_none_of_tensorflows_operations(tmp_path: Path):
    _, _, content = engine("litert", "int8", GELU, tmp_path)
    names = {operation["op_name"] for operation in Interpreter(model_content=content)._get_ops_details()}
    assert "FULLY_CONNECTED" in names
    assert not [name for name in names if name.startswith("Flex") or name == "CUSTOM"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_needs_only_standard_operations(precision: str, tmp_path: Path):
    engine("onnx", precision, GELU, tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    assert {node.domain for node in model.graph.node} == {""}
    assert onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).get_inputs()[0].shape == ["batch", "length"]


@pytest.mark.parametrize("form", ["litert", "onnx"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_model_gives_the_same_bytes(form: str, precision: str, tmp_path: Path):
    assert engine(form, precision, TINY_SHAPE, tmp_path)[2] == engine(form, precision, TINY_SHAPE, tmp_path)[2]


def test_unknown_activation():
    shape = replace(TINY_SHAPE, activation="linear?")
    with pytest.raises(ValueError, match="has no ONNX operation"):
        onnx_bytes(shape, random_weights(shape), uniform(shape, "float32"))
    with pytest.raises(ValueError, match="has no LiteRT operation"):
        litert_bytes(shape, random_weights(shape), uniform(shape, "float32"))
