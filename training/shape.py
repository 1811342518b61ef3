"""What a classifier's network looks like."""

from dataclasses import dataclass, replace

import numpy as np

# Added to the score of a token that must not be seen; exp() of it is 0 in float32.
HIDDEN = -1e4


@dataclass(frozen=True)
class Shape:
    """What a classifier's network looks like; all that is needed to rebuild it.

    Attributes
    ----------
    vocabulary, positions, classes : int
        The number of tokens, the greatest length, the number of labels.
    width, depth, heads, feedforward : int
        Dimensions, layers, heads and neurons of each feed-forward network.
    activation : str
        Of the feed-forward networks, one of `training.layers.elastic_dense.ACTIVATIONS`.
    epsilon : float
        Of the layer normalizations.
    dropout : float
        In training.
    pooling : str
        What the head reads: the ``mean`` of the tokens, or the first, ``cls``.
    adapter : int
        Neurons of the bottlenecks after attention and after the feed-forward network; 0: there are none.
    """

    vocabulary: int
    positions: int
    classes: int
    width: int
    depth: int
    heads: int
    feedforward: int
    activation: str
    epsilon: float
    dropout: float
    pooling: str = "mean"
    adapter: int = 0

    def slice(self, width: int, depth: int) -> "Shape":
        """Return the shape of the sub-network of this width and depth.

        Raises
        ------
        ValueError
            If the slice is not a part of the whole, or would cut through a head.
        """
        head = self.width // self.heads
        if not (0 < width <= self.width and 0 < depth <= self.depth and width % head == 0):
            raise ValueError(
                f"width={width} and depth={depth} must be within {self.width} and {self.depth}, "
                f"and the width a multiple of the heads' {head}"
            )
        feedforward = self.feedforward // self.width * width
        return replace(self, width=width, depth=depth, heads=width // head, feedforward=feedforward)

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every weight of the network."""
        dense = {
            "attention/query": (self.width, self.width),
            "attention/key": (self.width, self.width),
            "attention/value": (self.width, self.width),
            "attention/output": (self.width, self.width),
            "expand": (self.width, self.feedforward),
            "contract": (self.feedforward, self.width),
        }
        if self.adapter:
            for name in ("attention_adapter", "feedforward_adapter"):
                dense |= {f"{name}/down": (self.width, self.adapter), f"{name}/up": (self.adapter, self.width)}
        sizes: dict[str, tuple[int, ...]] = {
            "embedding/tokens": (self.vocabulary, self.width),
            "embedding/positions": (self.positions, self.width),
        }
        norms = ["embedding/norm"]
        for number in range(self.depth):
            for name, size in dense.items():
                sizes |= {f"block_{number}/{name}/kernel": size, f"block_{number}/{name}/bias": size[1:]}
            norms += [f"block_{number}/attention_norm", f"block_{number}/feedforward_norm"]
        for name in norms:
            sizes |= {f"{name}/gamma": (self.width,), f"{name}/beta": (self.width,)}
        return sizes | {"head/kernel": (self.width, self.classes), "head/bias": (self.classes,)}


def slice_weights(weights: dict[str, np.ndarray], part: Shape) -> dict[str, np.ndarray]:
    """Cut a sub-network's weights out of the whole's: each is the leading corner.

    Parameters
    ----------
    weights : dict of str to np.ndarray
        The whole's, by name.
    part : Shape
        What `Shape.slice` returned.

    Returns
    -------
    dict of str to np.ndarray
        The weights of a plain classifier whose logits are the slice's.
    """
    return {name: weights[name][tuple(slice(length) for length in size)] for name, size in part.weights().items()}
