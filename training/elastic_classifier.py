"""The elastic classifier: one BERT-style network whose leading slices are smaller classifiers.

The teacher, once fine-tuned, is written as one too (`training.teacher`), so that both are exported by the same code.
"""

from dataclasses import asdict
from typing import Any

import keras
import numpy as np
from keras import ops

from training.layers.elastic_block import ElasticBlock
from training.layers.elastic_dense import ElasticDense
from training.layers.elastic_embedding import ElasticEmbedding
from training.layers.masked_mean_pooling import MaskedMeanPooling
from training.shape import HIDDEN, Shape, Size


class ElasticClassifier(keras.Model):
    """Token ids to logits, at full size or at a part of the width and depth.

    Parameters
    ----------
    shape : Shape
        The full size.

    References
    ----------
    Hou et al. 2020, DynaBERT, https://arxiv.org/abs/2004.04037: width and depth of one BERT made adaptive.
    """

    def __init__(self, shape: Shape, **kwargs: Any) -> None:
        kwargs.setdefault("name", "classifier")  # a counted name would reach the exported bytes
        super().__init__(**kwargs)
        self.shape = shape
        block = (
            shape.width,
            shape.heads,
            shape.head_width,
            shape.feedforward,
            shape.activation,
            shape.epsilon,
            shape.dropout,
        )
        self.embedding = ElasticEmbedding(
            shape.vocabulary, shape.positions, shape.width, shape.epsilon, shape.dropout, name="embedding"
        )
        self.blocks = [ElasticBlock(*block, name=f"block_{number}") for number in range(shape.depth)]
        self.pooling = MaskedMeanPooling(name="pooling")
        self.dropout = keras.layers.Dropout(shape.dropout, name="dropout")
        self.head = ElasticDense(shape.width, shape.classes, name="head")
        self.build()

    def build(self, input_shape: Any = None) -> None:  # noqa: ARG002  (the sizes are the constructor's)
        """Make the layers' weights."""
        layers: list[Any] = [self.embedding, *self.blocks, self.head]
        for layer in layers:
            layer.build()

    def call(self, token_ids: Any, training: bool | None = None, size: Size | None = None) -> Any:
        """Classify.

        Parameters
        ----------
        token_ids : tensor
            Int32 of shape ``(batch, length)``; 0 is padding.
        training : bool
            Whether dropout is on.
        size : Size or None
            The sub-network in use; None for all of it.

        Returns
        -------
        tensor
            Logits, float32 of shape ``(batch, classes)``.
        """
        return self.answer(token_ids, training, size)[0]

    def answer(self, token_ids: Any, training: bool | None = None, size: Size | None = None) -> tuple[Any, list[Any]]:
        """Classify, and give the hidden states too: the embeddings', then each layer's, ``(batch, length, width)``."""
        size = size or self.shape.size
        mask = ops.cast(ops.not_equal(token_ids, 0), "int32")
        hidden = ops.expand_dims((1.0 - ops.cast(mask, "float32")) * HIDDEN, 1)
        states = [self.embedding(token_ids, mask, width=size.width, training=training)]
        for block in self.blocks[: size.depth]:
            states.append(block(states[-1], hidden, heads=size.heads, feedforward=size.feedforward, training=training))
        return self.head(self.dropout(self.pooling(states[-1], mask), training=training)), states

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the model."""
        return {"shape": asdict(self.shape)}


def named_weights(model: ElasticClassifier) -> dict[str, np.ndarray]:
    """Return the weights by name, such as ``block_0/attention/query/kernel``, float32."""
    return {_name(weight): np.asarray(weight) for weight in model.weights}


def build(shape: Shape, weights: dict[str, np.ndarray]) -> ElasticClassifier:
    """Build a classifier and give it weights, named as by `named_weights`."""
    model = ElasticClassifier(shape)
    for weight in model.weights:
        weight.assign(weights[_name(weight)])
    return model


def _name(weight: keras.Variable) -> str:
    return str(weight.path.split("/", 1)[1])  # the first part is the model's own name
