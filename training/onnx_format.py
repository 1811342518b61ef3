"""Writes a classifier as an ONNX graph, from its shape and weights alone.

Built with `onnx.helper` rather than converted from TensorFlow: tf2onnx takes 20 s for a teacher and spells a layer
normalization as nine operations, where the standard has one. Standard operations throughout: ONNX Runtime makes one
`DynamicQuantizeMatMul` of the six that an int8 layer is spelled with, and unpacks int4 weights once, when it loads.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.quantization import (
    EMBEDDING,
    HEAD,
    Plan,
    Precision,
    Ranges,
    activation_scale,
    block_spread,
    counted_places,
    head_width,
    kernel_and_bias,
    nibbles,
    of_positions,
    to_int4,
    to_int4_blocks,
    to_int8,
)
from training.shape import HIDDEN, Shape

OPSET = 21  # the first with int4; 20 is the first with Gelu
IR_VERSION = 10  # as old as the operations allow, for the sake of older runtimes


def onnx_bytes(
    shape: Shape,
    weights: dict[str, np.ndarray],
    plan: Plan,
    ranges: Ranges | None = None,
    reduce_range: bool = True,
    watched: bool = False,
) -> bytes:
    """Write a classifier.

    Parameters
    ----------
    shape : Shape
        The network.
    weights : dict of str to np.ndarray
        Its weights, float32, by name.
    plan : Plan
        The precision of each layer. ``int8``: a scale an output channel, activations in 8 bits, rounded as they come
        (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). ``int8_static``: activations
        by the scale of ``ranges``. ``int4``: the weights in 4 bits, activations as in ``int8``; the table of tokens as
        `to_int4_blocks` has it. Tables in int8 have a scale a row.
    ranges : Ranges or None
        Needed where a layer is ``int8_static``.
    reduce_range : bool
        Seven bits a weight of a kernel, so that sums of two products do not overflow on a CPU without VNNI.
    watched : bool
        Give out each dense layer's input and output too, as ``<layer>/in`` and ``<layer>/out``.

    Returns
    -------
    bytes
        Input ``token_ids``: int32 ``(batch, length)``, 0 is padding. Output ``logits``: float32 ``(batch, classes)``.
    """
    graph = _Graph(shape, weights, plan, ranges or {}, 7 if reduce_range else 8)
    padding = graph.add("Equal", ["token_ids", graph.constant("padding", 0, np.int32)], "is_padding")
    is_token = graph.add("Not", [padding], "is_token")
    kept = graph.add("Cast", [is_token], "kept", to=TensorProto.FLOAT)
    hidden = graph.add("Cast", [padding], "padding_as_float", to=TensorProto.FLOAT)
    hidden = graph.add("Mul", [hidden, graph.constant("hidden_score", HIDDEN)], "hidden_scores")
    hidden = graph.add("Unsqueeze", [hidden, graph.constant("heads_and_queries", [1, 2], np.int64)], "hidden")
    x = _embed(graph, is_token)
    for number in range(shape.depth):
        block = f"block_{number}"
        x = graph.residual(x, _attend(graph, x, hidden, f"{block}/attention"), f"{block}/attention_norm")
        inner = graph.dense(graph.dense(x, f"{block}/expand", shape.activation), f"{block}/contract")
        x = graph.residual(x, inner, f"{block}/feedforward_norm")
    logits = graph.add("Identity", [graph.dense(_pool(graph, x, kept), HEAD)], "logits")
    ids = helper.make_tensor_value_info("token_ids", TensorProto.INT32, ["batch", "length"])
    answers = [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["batch", shape.classes])]
    if watched:
        for layer, ends in graph.ends.items():
            for end, tensor in zip(("in", "out"), ends, strict=True):
                graph.add("Identity", [tensor], f"{layer}/{end}")
                free = ["batch", None] if layer == HEAD else ["batch", "length", None]
                answers.append(helper.make_tensor_value_info(f"{layer}/{end}", TensorProto.FLOAT, free))
    proto = helper.make_graph(graph.nodes, "classifier", [ids], answers, graph.constants)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Nodes and constants in the order they were added, each output named after what it is."""

    def __init__(
        self, shape: Shape, weights: dict[str, np.ndarray], plan: Plan, ranges: Ranges, kernel_bits: int
    ) -> None:
        self.shape, self.weights, self.plan, self.ranges, self.kernel_bits = shape, weights, plan, ranges, kernel_bits
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.ends: dict[str, tuple[str, str]] = {}
        self._named: set[str] = set()

    def constant(self, name: str, value: Any, kind: type = np.float32) -> str:
        if name not in self._named:
            self._named.add(name)
            self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind, order="C"), name))
        return name

    def packed(self, name: str, whole: np.ndarray) -> str:
        """Add an int4 constant; its cast to int8 is folded when the file is loaded, so it costs no request anything."""
        content = nibbles(whole).tobytes()
        self.constants.append(helper.make_tensor(f"{name}/int4", TensorProto.INT4, whole.shape, content, raw=True))
        return self.add("Cast", [f"{name}/int4"], name, to=TensorProto.INT8)

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def add(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operation, inputs, [output], name=output, **attributes))
        return output

    def dense(self, x: str, layer: str, activation: str = "linear") -> str:
        kernel, bias = kernel_and_bias(self.shape, self.weights, layer)
        if self.plan[layer] == "float32":
            product = self.float_product(x, kernel, layer)
        elif (
            self.plan[layer] == "int8_static" and layer != HEAD
        ):  # ONNX Runtime would leave a product of one row in floats
            product = self.static_product(x, kernel, layer)
        else:
            product = self.whole_product(x, kernel, layer)
        y = self.add("Add", [product, self.constant(f"{layer}/bias", bias)], f"{layer}/sum")
        self.ends[layer] = (x, y)
        if activation == "linear":
            return y
        if activation == "relu":
            return self.add("Relu", [y], f"{layer}/relu")
        if activation == "gelu_tanh":
            return self.add("Gelu", [y], f"{layer}/gelu", approximate="tanh")
        raise ValueError(f"activation={activation!r} has no ONNX operation here")

    def float_product(self, x: str, kernel: np.ndarray, layer: str) -> str:
        return self.add("MatMul", [x, self.constant(f"{layer}/kernel", kernel)], f"{layer}/product")

    def static_product(self, x: str, kernel: np.ndarray, layer: str) -> str:
        """Round and scale back both sides: ONNX Runtime multiplies them in whole numbers."""
        whole, scales = to_int8(kernel.T, self.kernel_bits)
        scale, zero_point = activation_scale(*self.ranges[f"{layer}/in"])
        scaling = [
            self.constant(f"{layer}/in_scale", scale),
            self.constant(f"{layer}/in_zero", zero_point + 128, np.uint8),
        ]
        entering = self.add("QuantizeLinear", [x, *scaling], f"{layer}/in_int8")
        entering = self.add("DequantizeLinear", [entering, *scaling], f"{layer}/in_float")
        stored = [
            self.constant(f"{layer}/kernel/int8", whole.T, np.int8),
            self.constant(f"{layer}/scales", scales),
            self.constant(f"{layer}/kernel_zero", np.zeros(len(scales)), np.int8),
        ]
        kernel_again = self.add("DequantizeLinear", stored, f"{layer}/kernel", axis=1)
        return self.add("MatMul", [entering, kernel_again], f"{layer}/product")

    def whole_product(self, x: str, kernel: np.ndarray, layer: str) -> str:
        """Multiply in whole numbers, and scale the result."""
        rows, name = kernel.T, f"{layer}/kernel"
        if self.plan[layer] == "int4":
            whole, scales = to_int4(rows)
            stored = self.packed(name, np.ascontiguousarray(whole.T))
        else:
            whole, scales = to_int8(rows, self.kernel_bits)
            stored = self.constant(name, whole.T, np.int8)
        entering, scale, zero = (f"{layer}/in_{part}" for part in ("int8", "scale", "zero"))
        self.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], [entering, scale, zero], name=entering))
        scaling = self.add("Mul", [scale, self.constant(f"{layer}/scales", scales)], f"{layer}/scaling")
        inputs = [entering, stored, zero]  # the zero point of weights is 0
        product = self.add("MatMulInteger", inputs, f"{layer}/whole")
        product = self.add("Cast", [product], f"{layer}/whole_as_float", to=TensorProto.FLOAT)
        return self.add("Mul", [product, scaling], f"{layer}/product")

    def look_up(self, table: np.ndarray, rows: str, name: str, bits: Precision) -> str:
        """Gather rows; of a table of whole numbers only the rows gathered become floats again."""
        if bits == "float32":
            return self.add("Gather", [self.constant(name, table), rows], f"{name}/rows")
        if bits == "int4":
            whole, block_scales, unit = to_int4_blocks(table)
            stored = self.packed(name, whole)
            scale = self.constant(f"{name}/scales", block_scales, np.int8)
            scale = self.add("Gather", [scale, rows], f"{name}/block_scale")
            scale = self.add("Cast", [scale], f"{name}/block_scale_float", to=TensorProto.FLOAT)
            spread = self.constant(f"{name}/spread", block_spread(table.shape[1], unit))
            scale = self.add("MatMul", [scale, spread], f"{name}/scale")
        else:
            whole, scales = to_int8(table)
            stored = self.constant(name, whole, np.int8)
            scale = self.add("Gather", [self.constant(f"{name}/scales", scales[:, None]), rows], f"{name}/scale")
        found = self.add("Gather", [stored, rows], f"{name}/whole")
        found = self.add("Cast", [found], f"{name}/whole_as_float", to=TensorProto.FLOAT)
        return self.add("Mul", [found, scale], f"{name}/rows")

    def residual(self, x: str, y: str, name: str) -> str:
        # Sum, not Add: of Add and LayerNormalization ONNX Runtime (1.32) makes one SkipLayerNormalization, whose kernel
        # takes 10.7 us for 16 tokens of 128 dimensions where the two take 2.4 (docs/quantization.md).
        inputs = [self.add("Sum", [x, y], f"{name}/sum"), self.weight(f"{name}/gamma"), self.weight(f"{name}/beta")]
        return self.add("LayerNormalization", inputs, f"{name}/output", axis=-1, epsilon=self.shape.epsilon)


def _embed(graph: _Graph, is_token: str) -> str:
    """Token plus position embeddings; a position is counted along the mask, as in ElasticEmbedding."""
    mask = graph.add("Cast", [is_token], "mask", to=TensorProto.INT32)
    counted = graph.add("CumSum", [mask, graph.constant("length_axis", 1, np.int64)], "counted")
    bits = graph.plan[EMBEDDING]
    tokens = graph.look_up(graph.weights["embedding/tokens"], "token_ids", "embedding/tokens", bits)
    places = graph.look_up(counted_places(graph.weights), counted, "embedding/positions", of_positions(bits))
    return graph.residual(tokens, places, "embedding/norm")


def _attend(graph: _Graph, x: str, hidden: str, name: str) -> str:
    """Multi-head self-attention; query, key and value in one product, so that ``x`` is rounded once."""
    heads, width = graph.shape.heads, head_width(graph.shape, graph.weights, f"{name}/input")
    by_head = graph.constant("by_head", [0, 0, 3 * heads, width], np.int64)
    by_token = graph.constant("by_token", [0, 0, heads * width], np.int64)
    split = graph.add("Reshape", [graph.dense(x, f"{name}/input"), by_head], f"{name}/split")
    turned = graph.add("Transpose", [split], f"{name}/heads", perm=[0, 2, 1, 3])  # (batch, 3 x heads, length, width)
    parts = [f"{name}/{part}" for part in ("query", "key", "value")]
    graph.nodes.append(helper.make_node("Split", [turned], parts, name=f"{name}/parts", axis=1, num_outputs=3))
    key = graph.add("Transpose", [parts[1]], f"{name}/key_turned", perm=[0, 1, 3, 2])
    scores = graph.add("MatMul", [parts[0], key], f"{name}/scores")
    seen = graph.add("Softmax", [graph.add("Add", [scores, hidden], f"{name}/masked")], f"{name}/seen", axis=-1)
    heads_read = graph.add("MatMul", [seen, parts[2]], f"{name}/read")
    merged = graph.add("Transpose", [heads_read], f"{name}/back", perm=[0, 2, 1, 3])
    return graph.dense(graph.add("Reshape", [merged, by_token], f"{name}/merged"), f"{name}/output")


def _pool(graph: _Graph, x: str, kept: str) -> str:
    """Masked mean over the tokens, as in MaskedMeanPooling."""
    axis = graph.constant("pooled_axis", [1], np.int64)
    row = graph.add("Unsqueeze", [kept, axis], "pooling/row")
    total = graph.add("Squeeze", [graph.add("MatMul", [row, x], "pooling/total"), axis], "pooling/sum")
    count = graph.add("ReduceSum", [kept, axis], "pooling/count", keepdims=1)
    at_least_one = graph.add("Max", [count, graph.constant("pooling/least", 1)], "pooling/divisor")
    return graph.add("Div", [total, at_least_one], "pooling/mean")
