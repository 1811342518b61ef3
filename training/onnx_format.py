"""Writes a classifier as an ONNX graph, from its shape and weights alone.

Built with `onnx.helper` rather than converted from TensorFlow: tf2onnx takes 20 s for a teacher and spells a layer
normalization as nine operations, where the standard has one.
"""

import logging
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from training.shape import HIDDEN, Shape

OPSET = 20  # the first with Gelu
IR_VERSION = 10  # as old as the operations allow, for the sake of older runtimes


def onnx_bytes(shape: Shape, weights: dict[str, np.ndarray], precision: str, reduce_range: bool) -> bytes:
    """Write a classifier.

    Parameters
    ----------
    shape : Shape
        The network.
    weights : dict of str to np.ndarray
        Its weights, float32, by name.
    precision : str
        ``float32``, or ``int8`` for weights in int8 and activations quantized as they come
        (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    reduce_range : bool
        Seven bits a weight, so that sums do not overflow on a CPU without VNNI.

    Returns
    -------
    bytes
        Input ``token_ids``: int32 ``(batch, length)``, 0 is padding. Output ``logits``: float32 ``(batch, classes)``.
    """
    model = _build(shape, weights)
    if precision == "float32":
        return bytes(model.SerializeToString(deterministic=True))
    add_pre_process_metadata(model)  # the graph is as lean as the pre-processing would make it
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        # The quantizer tells the root logger of every tensor that it passes by.
        level = logging.root.manager.disable
        logging.disable(logging.INFO)
        try:
            quantize_dynamic(model, path, weight_type=QuantType.QInt8, reduce_range=reduce_range)
        finally:
            logging.disable(level)
        return bytes(onnx.load(path).SerializeToString(deterministic=True))


def _build(shape: Shape, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = _Graph(weights)
    padding = graph.add("Equal", ["token_ids", graph.constant("padding", 0, np.int32)], "is_padding")
    kept = graph.add("Cast", [graph.add("Not", [padding], "is_token")], "kept", to=TensorProto.FLOAT)
    hidden = graph.add("Cast", [padding], "padding_as_float", to=TensorProto.FLOAT)
    hidden = graph.add("Mul", [hidden, graph.constant("hidden_score", HIDDEN, np.float32)], "hidden_scores")
    hidden = graph.add("Unsqueeze", [hidden, graph.constant("heads_and_queries", [1, 2], np.int64)], "hidden")
    graph.constant("by_head", [0, 0, shape.heads, shape.width // shape.heads], np.int64)
    graph.constant("by_token", [0, 0, shape.width], np.int64)
    graph.constant("head_scale", 1 / math.sqrt(shape.width // shape.heads), np.float32)
    x = _embed(graph, shape)
    for number in range(shape.depth):
        block = f"block_{number}"
        attended = _adapt(graph, _attend(graph, x, hidden, f"{block}/attention"), f"{block}/attention_adapter", shape)
        x = graph.residual(x, attended, f"{block}/attention_norm", shape)
        inner = graph.dense(graph.dense(x, f"{block}/expand", shape.activation), f"{block}/contract")
        inner = _adapt(graph, inner, f"{block}/feedforward_adapter", shape)
        x = graph.residual(x, inner, f"{block}/feedforward_norm", shape)
    pooled = _pool(graph, x, kept) if shape.pooling == "mean" else _first(graph, x)
    logits = graph.add("Identity", [graph.dense(pooled, "head")], "logits")
    ids = helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["batch", "length"])
    answer = helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["batch", shape.classes])
    proto = helper.make_graph(graph.nodes, "classifier", [ids], [answer], graph.constants)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes and constants in the order they were added, each output named after what it is."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any, kind: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind, order="C"), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def add(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operation, inputs, [output], name=output, **attributes))
        return output

    def dense(self, x: str, name: str, activation: str = "linear") -> str:
        product = self.add("MatMul", [x, self.weight(f"{name}/kernel")], f"{name}/product")
        y = self.add("Add", [product, self.weight(f"{name}/bias")], f"{name}/sum")
        if activation == "linear":
            return y
        if activation == "relu":
            return self.add("Relu", [y], f"{name}/relu")
        if activation in ("gelu", "gelu_tanh"):
            approximate = "tanh" if activation == "gelu_tanh" else "none"
            return self.add("Gelu", [y], f"{name}/gelu", approximate=approximate)
        raise ValueError(f"activation={activation!r} has no ONNX operation here")

    def residual(self, x: str, y: str, name: str, shape: Shape) -> str:
        inputs = [self.add("Add", [x, y], f"{name}/sum"), self.weight(f"{name}/gamma"), self.weight(f"{name}/beta")]
        return self.add("LayerNormalization", inputs, f"{name}/output", axis=-1, epsilon=shape.epsilon)


def _embed(graph: _Graph, shape: Shape) -> str:
    """Token plus position embeddings; a position is counted along the mask, as in ElasticEmbedding."""
    mask = graph.add("Cast", ["is_token"], "mask", to=TensorProto.INT32)
    counted = graph.add("CumSum", [mask, graph.constant("length_axis", 1, np.int64)], "counted")
    first = graph.add("Sub", [counted, graph.constant("one", 1, np.int32)], "from_zero")
    index = graph.add("Max", [first, "padding"], "index")
    tokens = graph.add("Gather", [graph.weight("embedding/tokens"), "token_ids"], "embedding/token")
    places = graph.add("Gather", [graph.weight("embedding/positions"), index], "embedding/position")
    return graph.residual(tokens, places, "embedding/norm", shape)


def _attend(graph: _Graph, x: str, hidden: str, name: str) -> str:
    """Multi-head self-attention; query, key and value in one product, so that ``x`` is quantized once."""
    parts = ("query", "key", "value")
    kernel = np.concatenate([graph.weights[f"{name}/{part}/kernel"] for part in parts], axis=1)
    bias = np.concatenate([graph.weights[f"{name}/{part}/bias"] for part in parts])
    product = graph.add("MatMul", [x, graph.constant(f"{name}/kernel", kernel)], f"{name}/product")
    joined = graph.add("Add", [product, graph.constant(f"{name}/bias", bias)], f"{name}/joined")
    outputs = [f"{name}/{part}" for part in parts]
    graph.nodes.append(helper.make_node("Split", [joined], outputs, name=f"{name}/split", axis=2, num_outputs=3))
    orders = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])  # (batch, head, query, :), (…, :, key), (…, key, :)
    query, key, value = (
        graph.add("Transpose", [graph.add("Reshape", [part, "by_head"], f"{part}/split")], f"{part}/heads", perm=order)
        for part, order in zip(outputs, orders, strict=True)
    )
    scores = graph.add("Mul", [graph.add("MatMul", [query, key], f"{name}/raw"), "head_scale"], f"{name}/scaled")
    seen = graph.add("Softmax", [graph.add("Add", [scores, hidden], f"{name}/masked")], f"{name}/seen", axis=-1)
    heads = graph.add("Transpose", [graph.add("MatMul", [seen, value], f"{name}/read")], f"{name}/back", perm=orders[0])
    return graph.dense(graph.add("Reshape", [heads, "by_token"], f"{name}/merged"), f"{name}/output")


def _pool(graph: _Graph, x: str, kept: str) -> str:
    """Masked mean over the tokens, as in MaskedMeanPooling."""
    axis = graph.constant("pooled_axis", [1], np.int64)
    row = graph.add("Unsqueeze", [kept, axis], "pooling/row")
    total = graph.add("Squeeze", [graph.add("MatMul", [row, x], "pooling/total"), axis], "pooling/sum")
    count = graph.add("ReduceSum", [kept, axis], "pooling/count", keepdims=1)
    at_least_one = graph.add("Max", [count, graph.constant("pooling/least", 1, np.float32)], "pooling/divisor")
    return graph.add("Div", [total, at_least_one], "pooling/mean")


def _first(graph: _Graph, x: str) -> str:
    """Take the first token's vector."""
    return graph.add("Gather", [x, graph.constant("pooling/first", 0, np.int64)], "pooling/cls", axis=1)


def _adapt(graph: _Graph, x: str, name: str, shape: Shape) -> str:
    """Put an Adapter after ``x``, where the network has them."""
    if not shape.adapter:
        return x
    return graph.add("Add", [x, graph.dense(graph.dense(x, f"{name}/down", shape.activation), f"{name}/up")], name)
