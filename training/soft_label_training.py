"""Trains a Keras classifier on soft labels and row weights, in a graph that is traced once for any batch and length."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ledger.errors import CheckpointError, DistributionError

LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
"""What a collective operation raises when another worker is gone."""


class SoftLabelTraining:
    """One training run, step by step.

    Keras' own ``train_on_batch`` traces a graph for the first batch's length, and another when the next one differs;
    for a few hundred steps that takes longer than the steps. Under a ``tf.distribute`` strategy, of whose scope
    the model, the optimizer and this must be made, every replica takes its share of the rows of a batch.
    Gradients are summed before they are clipped, so a step is the same however a batch is divided.
    (Keras' ``fit`` clips each replica's own gradients first, and drops rows that do not divide.)

    Parameters
    ----------
    model : keras.Model
        Functional; gives logits of shape ``(batch, classes)``. Trained in place.
    optimizer : keras.optimizers.Optimizer
        Used for this run only. Where Keras' policy is float16 it scales the loss.
    accumulate : int
        Parts in which a batch is computed, one after the other: less memory, the same update.
    """

    def __init__(self, model: Any, optimizer: Any, accumulate: int = 1) -> None:
        optimizer = scaled_optimizer(optimizer)
        self.model, self.optimizer, self.accumulate = model, optimizer, accumulate
        self.strategy = tf.distribute.get_strategy()
        self._parts = self.strategy.num_replicas_in_sync * accumulate
        optimizer.build(model.trainable_variables)
        if self.strategy.num_replicas_in_sync > 1:
            # Keras' optimizer clips, then sums over the replicas. Here they are summed first, and once.
            optimizer._all_reduce_sum_gradients = list
        inputs = [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
        classes = model.output_shape[-1]
        targets = [tf.TensorSpec((None, classes), tf.float32), tf.TensorSpec((None,), tf.float32)]
        self._graph = tf.function(self._step, input_signature=[inputs, *targets, tf.TensorSpec((), tf.float32)])

    def step(self, inputs: Sequence[np.ndarray], probabilities: np.ndarray, weights: np.ndarray) -> float:
        """Take one step, and return its loss.

        Parameters
        ----------
        inputs : sequence of np.ndarray
            In the order of the model's inputs. On several machines each is given the whole batch, and takes its share.
        probabilities : np.ndarray
            Float32 of shape ``(batch, classes)``.
        weights : np.ndarray
            Float32 of shape ``(batch,)``.

        Raises
        ------
        DistributionError
            If another worker is gone.
        """
        rows = len(weights)
        missing = -rows % self._parts  # rows that weigh nothing, so that every part has as many
        tensors = [tf.constant(_repeat_first(np.asarray(value), missing)) for value in inputs]
        targets = tf.constant(_repeat_first(probabilities, missing))
        weighing = tf.constant(np.concatenate([weights, np.zeros(missing, dtype=weights.dtype)]))
        try:
            return float(self._graph(tensors, targets, weighing, tf.constant(float(rows))))
        except LOST as error:
            reason = type(error).__name__
            raise DistributionError(
                f"training on several machines stopped: another worker does not answer ({reason}); "
                "see what ended it, and start all workers again: they go on from the last epoch"
            ) from None

    def refuse_unequal(self, epochs: int) -> None:
        """Have the machines of a strategy tell each other how many epochs are behind them.

        Raises
        ------
        DistributionError
            If they differ, on every machine: they would train different networks as if they were one.
        """
        if self.strategy.num_replicas_in_sync == 1:
            return

        def told() -> Any:
            mine = tf.constant([epochs, epochs**2], dtype=tf.float32)
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, mine)

        total = self.strategy.experimental_local_results(self.strategy.run(tf.function(told)))[0]
        mean, square = (float(value) / self.strategy.num_replicas_in_sync for value in total)
        if square - mean**2 > 1e-3:
            raise DistributionError(
                f"the machines would go on from different epochs ({epochs} are behind this one); "
                "copy one machine's folder .pricecut/teach to all others, or delete it on all"
            )

    def state(self) -> dict[str, np.ndarray]:
        """Return all that training changes, by number: the model's and the optimizer's variables."""
        return {path: np.asarray(variable) for path, variable in self._variables().items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Set what `state` returned; on several machines, the same on each.

        Raises
        ------
        CheckpointError
            If it is of another model or optimizer; nothing is changed then.
        """
        variables = self._variables()
        shapes = {path: tuple(variable.shape) for path, variable in variables.items()}
        if shapes != {path: value.shape for path, value in state.items()}:
            differing = sorted(
                path
                for path in shapes.keys() | state.keys()
                if path not in state or shapes.get(path) != state[path].shape
            )
            raise CheckpointError(f"the training's state is of another model: '{differing[0]}' differs; start anew")
        for path, variable in variables.items():
            variable.assign(state[path])

    def _variables(self) -> dict[str, Any]:
        # By number: Keras names layers on from those that the process made before.
        model = {f"model/{number}": variable for number, variable in enumerate(self.model.variables)}
        return model | {f"optimizer/{number}": variable for number, variable in enumerate(self.optimizer.variables)}

    def _step(self, inputs: Any, probabilities: Any, weights: Any, rows: Any) -> Any:
        loss = self.strategy.run(self._replica_step, args=(inputs, probabilities, weights, rows))
        return self.strategy.experimental_local_results(loss)[0]

    def _replica_step(self, inputs: Any, probabilities: Any, weights: Any, rows: Any) -> Any:
        loss, *gradients = self._gradients(inputs, probabilities, weights, rows)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return loss

    def _gradients(self, inputs: Any, probabilities: Any, weights: Any, rows: Any) -> list[Any]:
        context = tf.distribute.get_replica_context()
        replicas = self.strategy.num_replicas_in_sync
        if self._parts == 1:
            return self._part_gradients(inputs, probabilities, weights, rows)
        share = tf.shape(weights)[0] // self._parts
        first = context.replica_id_in_sync_group * self.accumulate

        def part(number: Any) -> list[Any]:
            def cut(value: Any) -> Any:
                return value[(first + number) * share : (first + number + 1) * share]

            return self._part_gradients([cut(value) for value in inputs], cut(probabilities), cut(weights), rows)

        def add(number: Any, so_far: list[Any]) -> tuple[Any, list[Any]]:
            return number + 1, [left + right for left, right in zip(so_far, part(number), strict=True)]

        if self.accumulate == 1:
            total = part(0)
        else:
            zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self.model.trainable_variables]
            _, total = tf.while_loop(
                lambda number, _: number < self.accumulate,
                add,
                (tf.constant(0), [tf.constant(0.0), *zeros]),
                parallel_iterations=1,
            )
        return context.all_reduce(tf.distribute.ReduceOp.SUM, total) if replicas > 1 else total

    def _part_gradients(self, inputs: Any, probabilities: Any, weights: Any, rows: Any) -> list[Any]:
        """Return a part's share of the loss of ``rows`` rows, and its gradients, dense."""
        with tf.GradientTape() as tape:
            logits = tf.cast(self.model(inputs, training=True), tf.float32)
            loss = tf.reduce_sum(weights * tf.nn.softmax_cross_entropy_with_logits(probabilities, logits)) / rows
            scaled = self.optimizer.scale_loss(loss)
        variables = [variable.value for variable in self.model.trainable_variables]
        return [loss, *(tf.convert_to_tensor(gradient) for gradient in tape.gradient(scaled, variables))]


def scaled_optimizer(optimizer: Any) -> Any:
    """Wrap an optimizer where the policy in force is float16: its small gradients would be lost without a scale."""
    if keras.config.dtype_policy().name != "mixed_float16":
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def _repeat_first(values: np.ndarray, times: int) -> np.ndarray:
    return np.concatenate([values, np.repeat(values[:1], times, axis=0)]) if times else values
