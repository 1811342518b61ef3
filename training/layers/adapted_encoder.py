"""A pretrained encoder layer with a bottleneck after each of its halves."""

from typing import Any

import keras
from keras import ops

from training.layers.adapter import Adapter


class AdaptedEncoder(keras.layers.Layer):
    """Runs a TransformerEncoder's own parts, each half followed by an adapter, before the residual (Houlsby et al. 2019, section 2.1).

    One layer, not a graph of the encoder's parts: KerasHub gives these the same names in every encoder, and Keras takes no two operations
    of one name into a model.

    Parameters
    ----------
    encoder : keras_hub.layers.TransformerEncoder
        Built; normalizes after the residual.
    after_attention, after_feedforward : Adapter
        Of the encoder's width.
    """

    def __init__(self, encoder: Any, after_attention: Adapter, after_feedforward: Adapter, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder, self.after_attention, self.after_feedforward = encoder, after_attention, after_feedforward

    def build(self, *_: Any) -> None:
        """Make the adapters' weights."""
        self.after_attention.build()
        self.after_feedforward.build()

    def call(self, x: Any, mask: Any) -> Any:
        """Map hidden states to the same shape, ``(batch, length, width)``; ``mask`` is 1 for a token, ``(batch, length)``."""
        layer, seen = self.encoder, ops.expand_dims(ops.cast(mask, "bool"), 1)
        attended = layer._self_attention_dropout(layer._self_attention_layer(query=x, value=x, attention_mask=seen))
        x = layer._self_attention_layer_norm(x + self.after_attention(attended))
        inner = layer._feedforward_output_dense(layer._feedforward_intermediate_dense(x))
        return layer._feedforward_layer_norm(x + self.after_feedforward(layer._feedforward_dropout(inner)))

    def compute_output_shape(self, x_shape: Any, *_: Any) -> Any:
        """Return the shape of the hidden states."""
        return x_shape
