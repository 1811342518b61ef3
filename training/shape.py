"""What a classifier's network looks like."""

from dataclasses import asdict, astuple, dataclass, replace

import numpy as np

# Added to the score of a token that must not be seen; exp() of it is 0 in float32.
HIDDEN = -1e4


@dataclass(frozen=True, order=True)
class Size:
    """What may be chosen of a network: how much of each layer, and how many layers.

    Attributes
    ----------
    width : int
        Dimensions of the hidden states.
    depth : int
        Layers.
    heads : int
        Attention heads of each layer.
    feedforward : int
        Neurons of each layer's feed-forward network.
    """

    width: int
    depth: int
    heads: int
    feedforward: int

    def __str__(self) -> str:
        """Name the size, as in a candidate's name: ``w384-d2-h4-f512``."""
        return f"w{self.width}-d{self.depth}-h{self.heads}-f{self.feedforward}"


@dataclass(frozen=True)
class Shape:
    """What a classifier's network looks like; all that is needed to rebuild it.

    Attributes
    ----------
    vocabulary, positions, classes : int
        The number of tokens, the greatest length, the number of labels.
    width, depth, heads, feedforward : int
        As in Size.
    head_width : int
        Dimensions of a head. A pruned network's heads together are narrower than its hidden states.
    activation : str
        Of the feed-forward networks, one of `training.layers.elastic_dense.ACTIVATIONS`.
    epsilon : float
        Of the layer normalizations.
    dropout : float
        In training.
    """

    vocabulary: int
    positions: int
    classes: int
    width: int
    depth: int
    heads: int
    head_width: int
    feedforward: int
    activation: str
    epsilon: float
    dropout: float

    @property
    def size(self) -> Size:
        """What of it may be chosen."""
        return Size(self.width, self.depth, self.heads, self.feedforward)

    @property
    def attended(self) -> int:
        """The dimensions of all heads together."""
        return self.heads * self.head_width

    def slice(self, size: Size) -> "Shape":
        """Return the shape of a sub-network.

        Raises
        ------
        ValueError
            If it is not a part of the whole.
        """
        for part, whole in zip(astuple(size), astuple(self.size), strict=True):
            if not 0 < part <= whole:
                raise ValueError(f"a slice of {size} must be within {self.size}, and at least 1 in each")
        return replace(self, **asdict(size))

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every weight of the network."""
        dense = {
            "attention/query": (self.width, self.attended),
            "attention/key": (self.width, self.attended),
            "attention/value": (self.width, self.attended),
            "attention/output": (self.attended, self.width),
            "expand": (self.width, self.feedforward),
            "contract": (self.feedforward, self.width),
        }
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
