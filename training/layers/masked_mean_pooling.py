"""The mean of a sequence's token vectors, padding left out."""

from typing import Any

import keras
from keras import ops


class MaskedMeanPooling(keras.layers.Layer):
    """Mean over the tokens that the mask keeps.

    MiniLM's sentence embeddings were trained under this pooling (Reimers and Gurevych 2019,
    https://arxiv.org/abs/1908.10084, section 3).
    """

    def call(self, x: Any, mask: Any) -> Any:
        """Map ``(batch, length, width)`` and an int mask ``(batch, length)`` to ``(batch, width)``."""
        kept = ops.cast(mask, x.dtype)
        total = ops.sum(x * ops.expand_dims(kept, -1), axis=1)
        return total / ops.maximum(ops.sum(kept, axis=1, keepdims=True), 1.0)
