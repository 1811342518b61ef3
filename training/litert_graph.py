"""Puts a LiteRT graph together, operation by operation, and gives its bytes.

The schema's own generated classes are used; what they lack is that weights begin at whole multiples of 16 bytes, as
the runtime's kernels expect of a mapped file.
"""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

SCHEMA_VERSION = 3
ALIGNMENT = 16
FREE = -1  # a dimension that is known at run time only

KINDS = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(bool): schema.TensorType.BOOL,
}


class _Buffer(schema.BufferT):
    """Constant data, aligned."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802  (the schema's name)
        if self.data is None:
            return super().Pack(builder)
        builder.StartVector(1, len(self.data), ALIGNMENT)
        builder.head -= len(self.data)
        builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


class LitertGraph:
    """Operations and tensors in the order they were added; a tensor is named by its number.

    ``None`` in a shape is a dimension that is known at run time only.
    """

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [_Buffer()]  # the first one is empty: that of every tensor without data
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._constants: dict[str, int] = {}

    def tensor(
        self, name: str, shape: tuple[int | None, ...], kind: int = schema.TensorType.FLOAT32, scale: Any = None
    ) -> int:
        """Add a tensor that is computed, or is the input; ``scale`` is its scale and zero point, if it is int8."""
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name, kind, 0
        tensor.shape = np.asarray([1 if size is None else size for size in shape], dtype=np.int32)
        if None in shape:
            tensor.shapeSignature = np.asarray([FREE if size is None else size for size in shape], dtype=np.int32)
        if scale is not None:
            tensor.quantization = _quantization(np.asarray([scale[0]]), np.asarray([scale[1]]))
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def constant(self, name: str, value: Any, scales: np.ndarray | None = None) -> int:
        """Add a constant, once for each name; ``scales`` are those of the rows of an int8 or int4 matrix."""
        if name in self._constants:
            return self._constants[name]
        array = np.asarray(value, order="C")
        number = self.tensor(name, array.shape, KINDS[array.dtype])
        return self._fill(number, name, array.tobytes(), scales)

    def packed(self, name: str, shape: tuple[int, int], content: np.ndarray, scales: np.ndarray | None) -> int:
        """Add an int4 matrix, its numbers packed in pairs; ``scales`` are those of its rows."""
        return self._fill(self.tensor(name, shape, schema.TensorType.INT4), name, content.tobytes(), scales)

    def add(self, operation: str, inputs: list[int], output: int, options: Any = None, version: int = 1) -> int:
        """Add an operation with one output; return the output."""
        return self.split(operation, inputs, [output], options, version)[0]

    def split(
        self, operation: str, inputs: list[int], outputs: list[int], options: Any = None, version: int = 1
    ) -> list[int]:
        """Add an operation with several outputs; return them."""
        code = (getattr(schema.BuiltinOperator, operation), version)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        operator.inputs, operator.outputs = np.asarray(inputs, dtype=np.int32), np.asarray(outputs, dtype=np.int32)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        self._operators.append(operator)
        return outputs

    def content(self, inputs: list[int], outputs: list[int], description: str) -> bytes:
        """Return the model's bytes; the same graph gives the same bytes."""
        subgraph = schema.SubGraphT()
        subgraph.name, subgraph.tensors, subgraph.operators = "main", self._tensors, self._operators
        subgraph.inputs, subgraph.outputs = np.asarray(inputs, dtype=np.int32), np.asarray(outputs, dtype=np.int32)
        model = schema.ModelT()
        model.version, model.description = SCHEMA_VERSION, description
        model.subgraphs, model.buffers = [subgraph], self._buffers
        model.operatorCodes = [_code(*code) for code in self._codes]
        builder = flatbuffers.Builder(sum(len(b.data or b"") for b in self._buffers) + 65536)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _fill(self, number: int, name: str, content: bytes, scales: np.ndarray | None) -> int:
        buffer = _Buffer()
        buffer.data = content
        self._tensors[number].buffer = len(self._buffers)
        self._buffers.append(buffer)
        if scales is not None:
            self._tensors[number].quantization = _quantization(scales, np.zeros(len(scales)))
        self._constants[name] = number
        return number


def _quantization(scales: np.ndarray, zeros: np.ndarray) -> Any:
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = scales.astype(np.float32), zeros.astype(np.int64)
    quantization.quantizedDimension = 0
    return quantization


def _code(operator: int, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = operator, version
    code.deprecatedBuiltinCode = min(operator, 127)  # older readers know no number above
    return code
