"""Trains all sub-networks of an elastic classifier at once, against what a teacher says of the same texts."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from training.distillation_losses import hidden_loss, logits_loss, relations_loss
from training.elastic_classifier import ElasticClassifier
from training.layers.elastic_dense import ElasticDense
from training.relations import TeacherAttention
from training.shape import Size


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts.

    Attributes
    ----------
    logits : float
        The teacher's logits.
    labels : float
        The training set's own soft labels, each by its row's weight: 0 for texts that have none.
    hidden : float
        The teacher's last hidden states.
    relations : float
        The relations between tokens in the teacher's last attention.
    """

    logits: float = 1.0
    labels: float = 0.0
    hidden: float = 0.0
    relations: float = 0.0

    @property
    def need_states(self) -> bool:
        """Whether the teacher's hidden states are needed, not its logits alone."""
        return self.hidden > 0 or self.relations > 0


@dataclass
class Batch:
    """What a step learns from.

    Attributes
    ----------
    token_ids : np.ndarray
        Padded int32 of shape ``(batch, length)``.
    teacher_logits : np.ndarray
        Float32 of shape ``(batch, classes)``.
    labels : np.ndarray
        Soft labels, float32 of shape ``(batch, classes)``.
    row_weights : np.ndarray
        Float32 of shape ``(batch,)``; 0 for a text without a label.
    states : np.ndarray
        The teacher's hidden states below and above its last layer, float32 of shape ``(batch, length, 2 * width)``; of length 0
        where no part of the loss needs them.
    """

    token_ids: np.ndarray
    teacher_logits: np.ndarray
    labels: np.ndarray
    row_weights: np.ndarray
    states: np.ndarray


@dataclass
class ElasticTraining:
    """One training run of an elastic classifier, step by step.

    Each step follows the sandwich rule (Yu and Huang 2019, https://arxiv.org/abs/1903.05134, section 3): the
    largest sub-network, the smallest, and one at random, their gradients added. The largest learns from the
    teacher; so do the others, because its answers are at hand for every text.

    Attributes
    ----------
    model : ElasticClassifier
        Trained in place.
    optimizer : keras.optimizers.Optimizer
        Applies the added gradients.
    sizes : list of Size
        The sub-networks on offer.
    temperature : float
        Softens both sides of the loss on logits.
    weights : Weights
        Of the parts of the loss.
    random : np.random.Generator
        Chooses the random sub-network.
    attention : TeacherAttention or None
        The teacher's last attention, where relations count.
    teacher_width : int or None
        Of the teacher's hidden states, where they count.
    """

    model: ElasticClassifier
    optimizer: Any
    sizes: list[Size]
    temperature: float
    weights: Weights
    random: np.random.Generator
    attention: TeacherAttention | None = None
    teacher_width: int | None = None
    _functions: dict[Size, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the optimizer's own variables, so that its graph is traced once."""
        self._variables = list(self.model.trainable_variables)
        self._projection = None
        if self.weights.hidden > 0 and self.teacher_width != self.model.shape.width:
            # A narrower student's states are compared in the teacher's space, by way of a projection that training throws away.
            self._projection = ElasticDense(self.model.shape.width, int(self.teacher_width or 0), name="projection")
            self._projection.build()
            self._variables += self._projection.trainable_variables
        self.optimizer.build(self._variables)
        self._apply = tf.function(lambda gradients: self.optimizer.apply(gradients))
        self.largest, self.smallest = max(self.sizes, key=_extent), min(self.sizes, key=_extent)

    def step(self, batch: Batch) -> float:
        """Take one step, and return the largest sub-network's loss."""
        parts = (batch.token_ids, batch.teacher_logits, batch.labels, batch.row_weights, batch.states)
        tensors = [tf.constant(part) for part in parts]
        at_random = self.sizes[int(self.random.integers(len(self.sizes)))]
        results = [self._function(size)(*tensors) for size in dict.fromkeys([self.largest, self.smallest, at_random])]
        added = [tf.add_n(parts) for parts in zip(*(gradients for _, gradients in results), strict=True)]
        self._apply(added)
        return float(results[0][0])

    def _loss(self, size: Size, ids: Any, teacher_logits: Any, labels: Any, row_weights: Any, states: Any) -> Any:
        logits, own = self.model.answer(ids, training=True, size=size)
        loss = self.weights.logits * logits_loss(logits, teacher_logits, self.temperature)
        if self.weights.labels:
            hard = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
            loss += self.weights.labels * tf.reduce_mean(row_weights * hard)
        if self.weights.need_states:
            below, above = tf.split(states, 2, axis=-1)
            mask = tf.cast(tf.not_equal(ids, 0), tf.float32)
            if self.weights.hidden:
                seen = own[-1] if self._projection is None else self._projection(own[-1])
                loss += self.weights.hidden * hidden_loss(seen, above[..., : seen.shape[-1]], mask)
            if self.weights.relations and self.attention is not None:
                block = self.model.blocks[size.depth - 1].attention
                theirs = self.attention.project(below)
                units = size.heads * block.head_width
                ours = [part(own[-2], units=units) for part in (block.query, block.key, block.value)]
                loss += self.weights.relations * relations_loss(ours, theirs, mask)
        return loss

    def _function(self, size: Size) -> Any:
        """Return the traced loss and gradients of one size."""
        if size not in self._functions:

            def gradients(*tensors: Any) -> Any:
                with tf.GradientTape() as tape:
                    loss = self._loss(size, *tensors)
                found = tape.gradient(loss, [v.value for v in self._variables], unconnected_gradients="zero")
                return loss, [tf.convert_to_tensor(gradient) for gradient in found]

            classes = self.model.shape.classes
            signature = [
                tf.TensorSpec((None, None), tf.int32),
                tf.TensorSpec((None, classes), tf.float32),
                tf.TensorSpec((None, classes), tf.float32),
                tf.TensorSpec((None,), tf.float32),
                tf.TensorSpec((None, None, 2 * (self.teacher_width or 0)), tf.float32),
            ]
            self._functions[size] = tf.function(gradients, input_signature=signature)
        return self._functions[size]


def _extent(size: Size) -> int:
    """Of sizes of one student the largest has the most of this, as all are parts of it."""
    return size.depth * size.width * (size.feedforward + size.heads)
