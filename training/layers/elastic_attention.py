"""Self-attention that can run with the leading part of its heads."""

import math
from typing import Any

import keras
from keras import ops

from training.layers.elastic_dense import ElasticDense


class ElasticAttention(keras.layers.Layer):
    """Multi-head self-attention whose leading heads are a smaller self-attention.

    The heads are split along the last axis and attend one by one, so that the graph reshapes nothing. With no
    shape computed at run time, LiteRT can resize batch and length and still leave every operation to XNNPACK.

    Parameters
    ----------
    width : int
        The full number of dimensions.
    heads, head_width : int
        The full number of heads, and the dimensions of each; together they may be fewer than ``width``.
    """

    def __init__(self, width: int, heads: int, head_width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.heads, self.head_width = width, heads, head_width
        self.query = ElasticDense(width, heads * head_width, name="query")
        self.key = ElasticDense(width, heads * head_width, name="key")
        self.value = ElasticDense(width, heads * head_width, name="value")
        self.output_dense = ElasticDense(heads * head_width, width, name="output")

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  (the sizes are the constructor's)
        """Make the layers' weights."""
        for layer in (self.query, self.key, self.value, self.output_dense):
            layer.build()

    def call(self, x: Any, hidden: Any, heads: int | None = None) -> Any:
        """Attend.

        Parameters
        ----------
        x : tensor
            Float32 of shape ``(batch, length, width in use)``.
        hidden : tensor
            Float32 of shape ``(batch, 1, length)``: 0 where a token may be seen, very negative where not.
        heads : int or None
            The heads in use; None for all.
        """
        heads = heads or self.heads
        units = heads * self.head_width
        scaled = self.query(x, units=units) * (1.0 / math.sqrt(self.head_width))
        parts = [
            ops.split(part, heads, axis=-1) for part in (scaled, self.key(x, units=units), self.value(x, units=units))
        ]
        attended = []
        for query, key, value in zip(*parts, strict=True):
            scores = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 2, 1))) + hidden, axis=-1)
            attended.append(ops.matmul(scores, value))
        return self.output_dense(ops.concatenate(attended, axis=-1), units=x.shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "width": self.width, "heads": self.heads, "head_width": self.head_width}
