"""One layer of the elastic encoder: attention, then a feed-forward network."""

from typing import Any

import keras

from training.layers.adapter import Adapter
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
    adapter : int
        Neurons of the Adapter after attention, and of that after the feed-forward network; 0: none.
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
        adapter: int = 0,
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
            "adapter": adapter,
        }
        self.attention = ElasticAttention(width, heads, head_width, name="attention")
        self.attention_norm = ElasticNormalization(width, epsilon, name="attention_norm")
        self.expand = ElasticDense(width, feedforward, activation, name="expand")
        self.contract = ElasticDense(feedforward, width, name="contract")
        self.feedforward_norm = ElasticNormalization(width, epsilon, name="feedforward_norm")
        self.dropout = keras.layers.Dropout(dropout, name="dropout")
        names = ("attention_adapter", "feedforward_adapter") if adapter else ()
        self.adapters = [Adapter(width, adapter, activation, name=name) for name in names]

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  (the sizes are the constructor's)
        """Make the layers' weights."""
        layers: list[Any] = [self.attention, self.attention_norm, self.expand, self.contract, self.feedforward_norm]
        for layer in [*layers, *self.adapters]:
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
        after_attention, after_feedforward = self.adapters or (lambda x: x, lambda x: x)
        attended = after_attention(self.dropout(self.attention(x, hidden, heads=heads), training=training))
        x = self.attention_norm(x + attended)
        inner = self.contract(self.expand(x, units=feedforward), units=width)
        return self.feedforward_norm(x + after_feedforward(self.dropout(inner, training=training)))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), **self._settings}
