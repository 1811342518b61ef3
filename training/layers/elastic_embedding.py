"""Token and position embeddings that can run at a part of their width."""

from typing import Any

import keras
from keras import ops

from training.layers.elastic_normalization import ElasticNormalization


class ElasticEmbedding(keras.layers.Layer):
    """The sum of token and position embeddings, normalized, at the leading part of its width.

    A token's position is counted along the mask, not read off the shape: with no shape computed at run time,
    the exported graph can be resized to any length.

    Parameters
    ----------
    vocabulary, positions : int
        The number of tokens, and the greatest length.
    width : int
        The full number of dimensions.
    epsilon : float
        Of the layer normalization.
    dropout : float
        The share of outputs dropped in training.
    """

    def __init__(
        self, vocabulary: int, positions: int, width: int, epsilon: float, dropout: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary, self.positions, self.width = vocabulary, positions, width
        self.norm = ElasticNormalization(width, epsilon, name="norm")
        self.dropout = keras.layers.Dropout(dropout, name="dropout")

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  (the sizes are the constructor's)
        """Make the weights."""
        initial = keras.initializers.TruncatedNormal(stddev=0.02)
        self.tokens = self.add_weight(shape=(self.vocabulary, self.width), initializer=initial, name="tokens")
        self.places = self.add_weight(shape=(self.positions, self.width), initializer=initial, name="positions")
        self.norm.build()

    def call(self, token_ids: Any, mask: Any, width: int | None = None, training: bool | None = None) -> Any:
        """Map int32 ids and mask of shape ``(batch, length)`` to ``(batch, length, width)``."""
        width = width or self.width
        tokens = self.tokens if width == self.width else self.tokens[:, :width]
        places = self.places if width == self.width else self.places[:, :width]
        index = ops.maximum(ops.cumsum(mask, axis=1) - 1, 0)
        x = ops.take(tokens, token_ids, axis=0) + ops.take(places, index, axis=0)
        return self.dropout(self.norm(x), training=training)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {
            **super().get_config(),
            "vocabulary": self.vocabulary,
            "positions": self.positions,
            "width": self.width,
            "epsilon": self.norm.epsilon,
            "dropout": self.dropout.rate,
        }
