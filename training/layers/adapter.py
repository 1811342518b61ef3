"""A bottleneck beside which the rest of a network stays as it was."""

from typing import Any

import keras

from training.layers.elastic_dense import ElasticDense


class Adapter(keras.layers.Layer):
    """Adds to a vector what a narrow two-layer network makes of it.

    It begins as (nearly) the identity, so that a pretrained network into which it is put still says what it said
    (Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, section 2.1).

    Parameters
    ----------
    width : int
        Dimensions of the vector.
    bottleneck : int
        Neurons between.
    activation : str
        Of these, one of ACTIVATIONS.
    """

    def __init__(self, width: int, bottleneck: int, activation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.bottleneck, self.activation = width, bottleneck, activation
        self.down = ElasticDense(width, bottleneck, activation, name="down")
        self.up = ElasticDense(bottleneck, width, name="up")

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  (the sizes are the constructor's)
        """Make the weights; those of the way up are zeros."""
        self.down.build()
        self.up.build()
        self.up.kernel.assign(keras.ops.zeros_like(self.up.kernel))

    def call(self, x: Any) -> Any:
        """Map ``(..., width in use)`` to the same shape."""
        return x + self.up(self.down(x), units=x.shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {
            **super().get_config(),
            "width": self.width,
            "bottleneck": self.bottleneck,
            "activation": self.activation,
        }
