"""Trains all sub-networks of an elastic classifier at once, against a teacher's logits."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from training.elastic_classifier import ElasticClassifier

Size = tuple[int, int]
"""A sub-network's width and depth."""


def distillation_loss(logits: Any, teacher_logits: Any, temperature: float) -> Any:
    """Return the mean cross-entropy to the teacher's softened answers, scaled to keep its gradient's size.

    Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2: its gradient is the KL divergence's.
    """
    targets = tf.nn.softmax(teacher_logits / temperature)
    return temperature**2 * tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits / temperature))


@dataclass
class ElasticTraining:
    """One training run of an elastic classifier, step by step.

    Each step follows the sandwich rule (Yu and Huang 2019, https://arxiv.org/abs/1903.05134, section 3): the
    largest sub-network, the smallest, and one at random, their gradients added. The largest learns from the
    teacher; so do the others, because its logits are at hand for every text.

    Attributes
    ----------
    model : ElasticClassifier
        Trained in place.
    optimizer : keras.optimizers.Optimizer
        Applies the added gradients.
    widths, depths : list of int
        The sizes on offer.
    temperature : float
        Softens both sides of the loss.
    random : np.random.Generator
        Chooses the random sub-network.
    """

    model: ElasticClassifier
    optimizer: Any
    widths: list[int]
    depths: list[int]
    temperature: float
    random: np.random.Generator
    _functions: dict[Size, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the optimizer's own variables, so that its graph is traced once."""
        self.optimizer.build(self.model.trainable_variables)
        self._apply = tf.function(lambda gradients: self.optimizer.apply(gradients))

    def step(self, token_ids: np.ndarray, teacher_logits: np.ndarray) -> float:
        """Take one step on padded int32 ids ``(batch, length)``; return the largest sub-network's loss."""
        ids, targets = tf.constant(token_ids), tf.constant(teacher_logits)
        sizes = dict.fromkeys([(max(self.widths), max(self.depths)), (min(self.widths), min(self.depths)), self._any()])
        results = [self._function(size)(ids, targets) for size in sizes]
        added = [tf.add_n(parts) for parts in zip(*(gradients for _, gradients in results), strict=True)]
        self._apply(added)
        return float(results[0][0])

    def _any(self) -> Size:
        return int(self.random.choice(self.widths)), int(self.random.choice(self.depths))

    def _function(self, size: Size) -> Any:
        """Return the traced loss and gradients of one size."""
        if size not in self._functions:

            def gradients(token_ids: Any, teacher_logits: Any) -> Any:
                with tf.GradientTape() as tape:
                    logits = self.model(token_ids, training=True, width=size[0], depth=size[1])
                    loss = distillation_loss(logits, teacher_logits, self.temperature)
                found = tape.gradient(
                    loss, [v.value for v in self.model.trainable_variables], unconnected_gradients="zero"
                )
                return loss, [tf.convert_to_tensor(gradient) for gradient in found]

            ids = tf.TensorSpec((None, None), tf.int32)
            targets = tf.TensorSpec((None, self.model.shape.classes), tf.float32)
            self._functions[size] = tf.function(gradients, input_signature=[ids, targets])
        return self._functions[size]
