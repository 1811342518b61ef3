"""A dense layer that can run on the leading part of its inputs and outputs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": keras.activations.linear,
    "relu": keras.activations.relu,
    "gelu": partial(keras.activations.gelu, approximate=False),
    "gelu_tanh": partial(keras.activations.gelu, approximate=True),
}
"""What may follow a dense layer; each has one operation in LiteRT and in ONNX. BERT's own is ``gelu``, by the error function."""


class ElasticDense(keras.layers.Layer):
    """Dense layer whose leading rows and columns are a smaller dense layer.

    The slice of a weight-shared supernet (Cai et al. 2020, https://arxiv.org/abs/1908.09791): at a smaller
    width the layer multiplies by the top left corner of its kernel.

    Parameters
    ----------
    inputs, units : int
        The full number of inputs and outputs.
    activation : str
        One of ACTIVATIONS.

    Examples
    --------
    >>> layer = ElasticDense(8, 6)
    >>> layer.build()
    >>> tuple(layer(keras.ops.ones((2, 3, 4)), units=2).shape)
    (2, 3, 2)
    """

    def __init__(self, inputs: int, units: int, activation: str = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} must be one of {list(ACTIVATIONS)}")
        self.inputs, self.units, self.activation = inputs, units, activation

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  (the sizes are the constructor's)
        """Make the weights."""
        self.kernel = self.add_weight(shape=(self.inputs, self.units), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, x: Any, units: int | None = None) -> Any:
        """Map ``(..., inputs in use)`` to ``(..., units)``; how many inputs are in use is read off ``x``."""
        inputs, units = x.shape[-1], units or self.units
        whole = inputs == self.inputs and units == self.units
        kernel = self.kernel if whole else self.kernel[:inputs, :units]
        bias = self.bias if whole else self.bias[:units]
        return ACTIVATIONS[self.activation](ops.matmul(x, kernel) + bias)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "inputs": self.inputs, "units": self.units, "activation": self.activation}
