"""A layer normalization that can run on the leading part of its dimensions."""

from typing import Any

import keras
from keras import ops


class ElasticNormalization(keras.layers.Layer):
    """Layer normalization over the dimensions in use.

    Mean and variance are those of the slice, so that a sliced network and the plain network extracted from it
    are the same function (Ba et al. 2016, https://arxiv.org/abs/1607.06450).

    Parameters
    ----------
    width : int
        The full number of dimensions.
    epsilon : float
        Added to the variance.
    """

    def __init__(self, width: int, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.epsilon = width, epsilon

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  (the sizes are the constructor's)
        """Make the weights."""
        self.gamma = self.add_weight(shape=(self.width,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(self.width,), initializer="zeros", name="beta")

    def call(self, x: Any) -> Any:
        """Normalize the last axis of ``(..., width in use)``."""
        width = x.shape[-1]
        gamma = self.gamma if width == self.width else self.gamma[:width]
        beta = self.beta if width == self.width else self.beta[:width]
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        return centred * ops.rsqrt(variance + self.epsilon) * gamma + beta

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "width": self.width, "epsilon": self.epsilon}
