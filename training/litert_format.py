"""Writes a classifier in LiteRT's format (.tflite), from its shape and weights alone, for plain LiteRT.

Written operation by operation rather than converted from TensorFlow: the converter takes 1.7 s a network, spells a
dense layer on ``(batch, length, width)`` as nine operations where LiteRT has one, and quantizes all layers or none.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from training.litert_graph import LitertGraph
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

RELU = schema.ActivationFunctionType.RELU
NO_BIAS = -1


def litert_bytes(shape: Shape, weights: dict[str, np.ndarray], plan: Plan, ranges: Ranges | None = None) -> bytes:
    """Write a classifier, free in batch and length.

    Parameters
    ----------
    shape : Shape
        The network.
    weights : dict of str to np.ndarray
        Its weights, float32, by name.
    plan : Plan
        The precision of each layer. ``int8``: a scale an output channel, activations rounded as they come
        (https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_quantization).
        ``int8_static``: activations by the scale of ``ranges``. ``int4``: kernels in 4 bits, a scale an output
        channel; the table of tokens in 4, as `to_int4_blocks` has it. Tables in int8 have a scale a row.
    ranges : Ranges or None
        Needed where a layer is ``int8_static``.

    Returns
    -------
    bytes
        Input 0: int32 ids ``(batch, length)``, 0 is padding. Output 0: float32 logits ``(batch, classes)``.
    """
    net = _Network(shape, weights, plan, ranges or {})
    graph = net.graph
    ids = graph.tensor("token_ids", (None, None), schema.TensorType.INT32)
    padding = graph.constant("padding", np.int32(0))
    is_token = graph.add("NOT_EQUAL", [ids, padding], graph.tensor("is_token", (None, None), schema.TensorType.BOOL))
    mask = net.cast(is_token, "mask", (None, None), schema.TensorType.INT32)
    kept = graph.add(
        "EXPAND_DIMS",
        [net.cast(mask, "kept", (None, None)), graph.constant("queries_axis", np.int32(1))],
        graph.tensor("kept_by_query", (None, 1, None)),
        schema.ExpandDimsOptionsT(),
    )
    absent = net.subtract(graph.constant("one", np.float32(1)), kept, "absent", (None, 1, None))
    hidden = net.multiply(absent, graph.constant("hidden_score", np.float32(HIDDEN)), "hidden", (None, 1, None))
    x = net.embed(ids, mask)
    for number in range(shape.depth):
        x = net.block(x, hidden, f"block_{number}")
    logits = net.dense(net.pool(x, kept), HEAD, ranked=False)
    return graph.content([ids], [logits], "pricecut")


class _Network:
    """The parts of the classifier, each added to one graph."""

    def __init__(self, shape: Shape, weights: dict[str, np.ndarray], plan: Plan, ranges: Ranges) -> None:
        self.shape, self.weights, self.plan, self.ranges = shape, weights, plan, ranges
        self.graph = LitertGraph()

    def embed(self, ids: int, mask: int) -> int:
        """Token plus position embeddings; a position is counted along the mask, as in ElasticEmbedding."""
        axis = self.graph.constant("length_axis", np.int32(1))
        counted = self.graph.tensor("counted", (None, None), schema.TensorType.INT32)
        self.graph.add("CUMSUM", [mask, axis], counted, schema.CumsumOptionsT())
        bits = self.plan[EMBEDDING]
        tokens = self.look_up(self.weights["embedding/tokens"], ids, "embedding/tokens", bits)
        places = self.look_up(counted_places(self.weights), counted, "embedding/positions", of_positions(bits))
        return self.normalized(tokens, places, "embedding/norm")

    def look_up(self, table: np.ndarray, rows: int, name: str, bits: Precision) -> int:
        """Gather rows; of a table of whole numbers only the rows gathered become floats again."""
        graph, columns = self.graph, table.shape[1]
        wide = (None, None, columns)
        if bits == "float32":
            return self.gather(graph.constant(name, table), rows, f"{name}/rows", wide)
        if bits == "int4" and columns % 2 == 0:  # a row begins at a whole byte
            whole, scales, unit = to_int4_blocks(table)
            stored = graph.packed(name, table.shape, nibbles(whole), None)
            found = self.gather(stored, rows, f"{name}/int4", wide, schema.TensorType.INT4)
            narrow = (None, None, scales.shape[1])
            stored = graph.constant(f"{name}/scales", scales)
            scale = self.gather(stored, rows, f"{name}/block_scale", narrow, schema.TensorType.INT8)
            options = schema.FullyConnectedOptionsT()
            options.keepNumDims = True
            spread = graph.constant(f"{name}/spread", np.ascontiguousarray(block_spread(columns, unit).T))
            inputs = [self.cast(scale, f"{name}/block_scale_float", narrow), spread, NO_BIAS]
            scale = graph.add("FULLY_CONNECTED", inputs, graph.tensor(f"{name}/scale", wide), options)
        else:
            whole, row_scales = to_int8(table)
            found = self.gather(graph.constant(name, whole), rows, f"{name}/int8", wide, schema.TensorType.INT8)
            stored_scales = graph.constant(f"{name}/scales", row_scales[:, None])
            scale = self.gather(stored_scales, rows, f"{name}/scale", (None, None, 1))
        return self.multiply(self.cast(found, f"{name}/float", wide), scale, f"{name}/rows", wide)

    def block(self, x: int, hidden: int, name: str) -> int:
        """Return one layer of the encoder, post-normalization."""
        x = self.normalized(x, self.attend(x, hidden, f"{name}/attention"), f"{name}/attention_norm")
        inner = self.dense(x, f"{name}/expand", activation=self.shape.activation)
        return self.normalized(x, self.dense(inner, f"{name}/contract"), f"{name}/feedforward_norm")

    def attend(self, x: int, hidden: int, name: str) -> int:
        """Multi-head self-attention, head by head: no shape is computed at run time (ElasticAttention)."""
        graph, heads = self.graph, self.shape.heads
        width = head_width(self.shape, self.weights, f"{name}/input")
        joined = self.dense(x, f"{name}/input")
        parts = [graph.tensor(f"{name}/part_{number}", (None, None, width)) for number in range(3 * heads)]
        options = schema.SplitOptionsT()
        options.numSplits = len(parts)
        graph.split("SPLIT", [graph.constant("last_axis", np.int32(2)), joined], parts, options)
        read = []
        for head in range(heads):
            query, key, value = parts[head], parts[heads + head], parts[2 * heads + head]
            at = f"{name}/head_{head}"
            scores = self.product(query, key, f"{at}/scores", (None, None, None), transposed=True)
            masked = self.plus(scores, hidden, f"{at}/masked", (None, None, None))
            softmax = schema.SoftmaxOptionsT()
            softmax.beta = 1.0
            seen = graph.add("SOFTMAX", [masked], graph.tensor(f"{at}/seen", (None, None, None)), softmax)
            read.append(self.product(seen, value, f"{at}/read", (None, None, width)))
        if heads > 1:
            together = schema.ConcatenationOptionsT()
            together.axis = 2
            read = [
                graph.add("CONCATENATION", read, graph.tensor(f"{name}/read", (None, None, heads * width)), together)
            ]
        return self.dense(read[0], f"{name}/output")

    def dense(self, x: int, layer: str, ranked: bool = True, activation: str = "linear") -> int:
        """Return a dense layer; not ``ranked``, it drops the axis of the tokens."""
        graph, precision = self.graph, self.plan[layer]
        kernel, bias = kernel_and_bias(self.shape, self.weights, layer)
        rows = np.ascontiguousarray(kernel.T)
        shape = (None, None, len(bias)) if ranked else (None, len(bias))
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = ranked
        options.fusedActivationFunction = RELU if activation == "relu" else 0
        if precision == "int8_static":
            return self.activated(self._static(x, layer, rows, bias, options, shape), activation, layer, shape)
        if precision == "float32":
            kernel_number, version = graph.constant(f"{layer}/kernel", rows), 1
        elif precision == "int8":
            whole, scales = to_int8(rows)
            kernel_number, version = graph.constant(f"{layer}/kernel", whole, scales), 12
        else:
            whole, scales = to_int4(rows)
            kernel_number, version = graph.packed(f"{layer}/kernel", rows.shape, nibbles(whole), scales), 12
        options.asymmetricQuantizeInputs = precision != "float32"
        inputs = [x, kernel_number, graph.constant(f"{layer}/bias", bias)]
        y = graph.add("FULLY_CONNECTED", inputs, graph.tensor(f"{layer}/sum", shape), options, version)
        return self.activated(y, activation, layer, shape)

    def _static(self, x: int, layer: str, rows: np.ndarray, bias: np.ndarray, options: Any, shape: Any) -> int:
        """Return a dense layer whose activations are rounded by scales known beforehand."""
        graph = self.graph
        whole, scales = to_int8(rows)
        scale, zero = activation_scale(*self.ranges[f"{layer}/in"])
        within = (None, None, rows.shape[1]) if len(shape) == 3 else (None, rows.shape[1])
        entering = graph.tensor(f"{layer}/in", within, schema.TensorType.INT8, (scale, zero))
        graph.add("QUANTIZE", [x], entering, schema.QuantizeOptionsT())
        whole_bias = np.rint(bias / (scale * scales)).astype(np.int32)
        leaving_scale = activation_scale(*self.ranges[f"{layer}/out"])
        leaving = graph.tensor(f"{layer}/out", shape, schema.TensorType.INT8, leaving_scale)
        inputs = [
            entering,
            graph.constant(f"{layer}/kernel", whole, scales),
            graph.constant(f"{layer}/bias", whole_bias, scale * scales),
        ]
        graph.add("FULLY_CONNECTED", inputs, leaving, options, 5)
        options_of = schema.DequantizeOptionsT()
        return graph.add("DEQUANTIZE", [leaving], graph.tensor(f"{layer}/sum", shape), options_of, 2)

    def activated(self, y: int, activation: str, layer: str, shape: Any) -> int:
        """Return the activation's output; ReLU is part of the dense layer."""
        if activation in ("linear", "relu"):
            return y
        if activation == "gelu_tanh":
            options = schema.GeluOptionsT()
            options.approximate = True
            return self.graph.add("GELU", [y], self.graph.tensor(f"{layer}/gelu", shape), options)
        raise ValueError(f"activation={activation!r} has no LiteRT operation here")

    def normalized(self, x: int, y: int, name: str) -> int:
        """Return the layer normalization of a sum, as in ElasticNormalization."""
        graph, width = self.graph, (None, None, self.shape.width)
        narrow = (None, None, 1)
        total = self.plus(x, y, f"{name}/sum", width)
        mean = self.mean(total, f"{name}/mean", narrow)
        centred = self.subtract(total, mean, f"{name}/centred", width)
        squared = graph.tensor(f"{name}/squared", width)
        graph.add("SQUARED_DIFFERENCE", [total, mean], squared, schema.SquaredDifferenceOptionsT())
        variance = self.mean(squared, f"{name}/variance", narrow)
        steady = self.plus(
            variance, graph.constant("epsilon", np.float32(self.shape.epsilon)), f"{name}/steady", narrow
        )
        inverse = graph.add("RSQRT", [steady], graph.tensor(f"{name}/inverse", narrow))
        unit = self.multiply(centred, inverse, f"{name}/unit", width)
        scaled = self.multiply(unit, self.weight(f"{name}/gamma"), f"{name}/scaled", width)
        return self.plus(scaled, self.weight(f"{name}/beta"), f"{name}/output", width)

    def pool(self, x: int, kept: int) -> int:
        """Masked mean over the tokens: one product, of shape ``(batch, 1, width)``, as in MaskedMeanPooling."""
        graph = self.graph
        total = self.product(kept, x, "pooling/total", (None, 1, self.shape.width))
        options = schema.ReducerOptionsT()
        options.keepDims = True
        count = graph.tensor("pooling/count", (None, 1, 1))
        graph.add("SUM", [kept, graph.constant("tokens_axis", np.asarray([2], dtype=np.int32))], count, options)
        least = graph.add(
            "MAXIMUM",
            [count, graph.constant("one", np.float32(1))],
            graph.tensor("pooling/divisor", (None, 1, 1)),
            schema.MaximumMinimumOptionsT(),
        )
        mean = graph.tensor("pooling/mean", (None, 1, self.shape.width))
        return graph.add("DIV", [total, least], mean, schema.DivOptionsT())

    def weight(self, name: str) -> int:
        """Add a weight as it is."""
        return self.graph.constant(name, self.weights[name])

    def gather(self, table: int, rows: int, name: str, shape: Any, kind: int = schema.TensorType.FLOAT32) -> int:
        """Return rows of a table."""
        options = schema.GatherOptionsT()
        version = {schema.TensorType.FLOAT32: 1, schema.TensorType.INT8: 2, schema.TensorType.INT4: 5}[kind]
        return self.graph.add("GATHER", [table, rows], self.graph.tensor(name, shape, kind), options, version)

    def cast(self, x: int, name: str, shape: Any, kind: int = schema.TensorType.FLOAT32) -> int:
        """Return ``x`` as another kind of number."""
        return self.graph.add("CAST", [x], self.graph.tensor(name, shape, kind), schema.CastOptionsT())

    def plus(self, x: int, y: int, name: str, shape: Any) -> int:
        """Return the sum."""
        return self.graph.add("ADD", [x, y], self.graph.tensor(name, shape), schema.AddOptionsT())

    def subtract(self, x: int, y: int, name: str, shape: Any) -> int:
        """Return the difference."""
        return self.graph.add("SUB", [x, y], self.graph.tensor(name, shape), schema.SubOptionsT())

    def multiply(self, x: int, y: int, name: str, shape: Any) -> int:
        """Return the product, number by number."""
        return self.graph.add("MUL", [x, y], self.graph.tensor(name, shape), schema.MulOptionsT())

    def product(self, x: int, y: int, name: str, shape: Any, transposed: bool = False) -> int:
        """Return the matrix product, text by text."""
        options = schema.BatchMatMulOptionsT()
        options.adjY = transposed
        return self.graph.add("BATCH_MATMUL", [x, y], self.graph.tensor(name, shape), options)

    def mean(self, x: int, name: str, shape: Any) -> int:
        """Return the mean along the last axis, which stays."""
        options = schema.ReducerOptionsT()
        options.keepDims = True
        axis = self.graph.constant("width_axis", np.asarray([2], dtype=np.int32))
        return self.graph.add("MEAN", [x, axis], self.graph.tensor(name, shape), options)
