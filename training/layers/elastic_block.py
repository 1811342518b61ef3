"""One layer of the elastic encoder: attention, then a feed-forward network."""

from typing import Any

import keras

from training.layers.elastic_attention import ElasticAttention
from training.layers.elastic_dense import ElasticDense
from training.layers.elastic_normalization import ElasticNormalization


class ElasticBlock(keras.layers.Layer):
    """A BERT encoder layer (post-normalization) that can run at a part of its width.

    Width, heads and neurons are sliced each for itself (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, for the layer).

    Parameters
    ----------
    width, heads, head_width : int
        The full number of dimensions, of heads, and of a head's dimensions.
    feedforward : int
        The full number of neurons of the feed-forward network.
    activation : str
        Of the feed-forward network, one of ACTIVATIONS.
    epsilon : float
        Of the layer normalizations.
    dropout : float
        The share of outputs dropped in training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        feedforward: int,
        activation: str,
        epsilon: float,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settings = {
            "width": width,
            "heads": heads,
            "head_width": head_width,
            "feedforward": feedforward,
            "activation": activation,
            "epsilon": epsilon,
            "dropout": dropout,
        }
        self.attention = ElasticAttention(width, heads, head_width, name="attention")
        self.attention_norm = ElasticNormalization(width, epsilon, name="attention_norm")
        self.expand = ElasticDense(width, feedforward, activation, name="expand")
        self.contract = ElasticDense(feedforward, width, name="contract")
        self.feedforward_norm = ElasticNormalization(width, epsilon, name="feedforward_norm")
        self.dropout = keras.layers.Dropout(dropout, name="dropout")

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  (the sizes are the constructor's)
        """Make the layers' weights."""
        for layer in (self.attention, self.attention_norm, self.expand, self.contract, self.feedforward_norm):
            layer.build()

    def call(
        self,
        x: Any,
        hidden: Any,
        heads: int | None = None,
        feedforward: int | None = None,
        training: bool | None = None,
    ) -> Any:
        """Map ``(batch, length, width in use)`` to the same shape; ``hidden`` and ``heads`` as in ElasticAttention."""
        width = x.shape[-1]
        x = self.attention_norm(x + self.dropout(self.attention(x, hidden, heads=heads), training=training))
        inner = self.contract(self.expand(x, units=feedforward), units=width)
        return self.feedforward_norm(x + self.dropout(inner, training=training))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), **self._settings}
