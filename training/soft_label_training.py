"""Trains a Keras classifier on soft labels and row weights, in a graph that is traced once for any batch and length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class SoftLabelTraining:
    """One training run, step by step.

    Keras' own ``train_on_batch`` traces a graph for the first batch's length, and another when the next one differs;
    for a few hundred steps that takes longer than the steps.

    Parameters
    ----------
    model : keras.Model
        Functional; gives logits of shape ``(batch, classes)``. Trained in place.
    optimizer : keras.optimizers.Optimizer
        Used for this run only.
    """

    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model, self.optimizer = model, optimizer
        optimizer.build(model.trainable_variables)
        inputs = [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
        classes = model.output_shape[-1]
        targets = [tf.TensorSpec((None, classes), tf.float32), tf.TensorSpec((None,), tf.float32)]
        self._graph = tf.function(self._step, input_signature=[inputs, *targets])

    def step(self, inputs: Sequence[np.ndarray], probabilities: np.ndarray, weights: np.ndarray) -> float:
        """Take one step, and return its loss.

        Parameters
        ----------
        inputs : sequence of np.ndarray
            In the order of the model's inputs.
        probabilities : np.ndarray
            Float32 of shape ``(batch, classes)``.
        weights : np.ndarray
            Float32 of shape ``(batch,)``.
        """
        tensors = [tf.constant(value) for value in inputs]
        return float(self._graph(tensors, tf.constant(probabilities), tf.constant(weights)))

    def _step(self, inputs: Any, probabilities: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = self.model(inputs, training=True)
            loss = tf.reduce_mean(weights * tf.nn.softmax_cross_entropy_with_logits(probabilities, logits))
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
        return loss
