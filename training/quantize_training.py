"""Trains a network under the rounding that it will be served with, so that it learns to answer as it did in floats.

Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3: the forward pass rounds, the backward pass does as if it
had not (the straight-through estimator, Bengio et al. 2013, https://arxiv.org/abs/1308.3432, section 3). The teacher is
the float network itself: what is to be recovered is its answers, and no label is needed.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from training.batches import length_grouped
from training.determinism import make_deterministic
from training.elastic_classifier import ElasticClassifier, build, named_weights
from training.layers.elastic_dense import ElasticDense
from training.quantization import BLOCK, CUTS, EMBEDDING, HEAD, Plan, Ranges
from training.schedule import adamw
from training.shape import Shape
from training.tokenization import pad

logger = logging.getLogger(__name__)

BATCH = 32
WARMUP = 0.1


def recover(
    shape: Shape,
    weights: dict[str, np.ndarray],
    plan: Plan,
    sequences: list[np.ndarray],
    logits: np.ndarray,
    epochs: int,
    learning_rate: float,
    seed: int,
    ranges: Ranges | None = None,
) -> dict[str, np.ndarray]:
    """Train a copy of the network under the plan's rounding, and return its weights, float32, to be rounded.

    Parameters
    ----------
    shape, weights
        The network in floats.
    plan : Plan
        The precision of each layer, as it will be written.
    sequences : list of np.ndarray
        Token ids, int32.
    logits : np.ndarray
        What each text is to be answered: the float network's, or the teacher's, float32 of shape ``(texts, classes)``.
    epochs, learning_rate, seed
        Of AdamW without decay, under a linear warm-up and fall.
    ranges : Ranges or None
        Of the activations of what is ``int8_static``; None has them rounded as they come.
    """
    make_deterministic(seed)
    random = np.random.default_rng(seed)
    model = build(shape, weights)
    lengths = np.asarray([len(sequence) for sequence in sequences])
    steps = epochs * -(-len(sequences) // BATCH)
    optimizer = adamw(learning_rate, steps, WARMUP, weight_decay=0.0)
    step = _step(model, optimizer, plan, ranges or {})
    for epoch in range(epochs):
        losses = [
            float(step(tf.constant(pad([sequences[row] for row in batch])), tf.constant(logits[batch])))
            for batch in length_grouped(lengths, BATCH, random)
        ]
        logger.info("under the rounding, epoch %d/%d  divergence %.5f", epoch + 1, epochs, np.mean(losses))
    return named_weights(model)


def rounded(layer_precision: str, value: Any, by_row: bool) -> Any:
    """Return a weight as it will be after rounding; its gradient is as if nothing had been rounded.

    Parameters
    ----------
    layer_precision : str
        As in a plan.
    value : tensor
        A table ``(rows, columns)``, a row a token, or a kernel ``(inputs, units)``.
    by_row : bool
        Whether rows have scales of their own (a table), or columns (a kernel).
    """
    if layer_precision == "float32":
        return value
    rows = value if by_row else ops.transpose(value)
    if layer_precision != "int4":
        whole = _whole(rows, 127.0, [1.0])
    elif by_row:
        n, m = rows.shape
        blocks = -(-m // BLOCK)
        padded = ops.pad(rows, ((0, 0), (0, blocks * BLOCK - m)))
        whole = ops.reshape(_whole(ops.reshape(padded, (n * blocks, BLOCK)), 7.0, CUTS), (n, blocks * BLOCK))[:, :m]
    else:
        whole = _whole(rows, 7.0, CUTS)
    whole = whole if by_row else ops.transpose(whole)
    return value + ops.stop_gradient(whole - value)


def rounded_activations(x: Any, limits: tuple[float, float] | None) -> Any:
    """Return activations ``(batch, ..., width)`` in 256 levels: each text's own, or between limits known beforehand."""
    if limits is None:
        axes = tuple(range(1, len(x.shape)))
        low = ops.minimum(ops.min(x, axis=axes, keepdims=True), 0.0)
        high = ops.maximum(ops.max(x, axis=axes, keepdims=True), 0.0)
    else:
        low, high = (ops.convert_to_tensor(end, "float32") for end in (min(limits[0], 0.0), max(limits[1], 0.0)))
        x = ops.clip(x, low, high)  # no gradient for what is cut off
    scale = ops.maximum(high - low, 1e-8) / 255.0
    zero = ops.round(-low / scale)
    whole = ops.clip(ops.round(x / scale), -zero, 255.0 - zero) * scale
    return x + ops.stop_gradient(whole - x)


def _whole(rows: Any, greatest: float, cuts: Any) -> Any:
    """Round rows by the cut of their greatest weight that loses least, as `training.quantization` does."""
    widest = ops.maximum(ops.max(ops.abs(rows), axis=1, keepdims=True), 1e-30) / greatest
    best = least = None
    for cut in cuts:
        scale = widest * float(cut)
        tried = ops.clip(ops.round(rows / scale), -greatest, greatest) * scale
        lost = ops.sum(ops.square(tried - rows), axis=1, keepdims=True)
        if best is None:
            best, least = tried, lost
        else:
            best, least = ops.where(lost < least, tried, best), ops.minimum(lost, least)
    return best


def _step(model: ElasticClassifier, optimizer: Any, plan: Plan, ranges: Ranges) -> Any:
    """Return the traced training step: padded ids and the answers to give, to the loss."""
    variables = model.trainable_variables
    optimizer.build(variables)

    def step(token_ids: Any, wanted: Any) -> Any:
        with tf.GradientTape() as tape:
            served = [(variable, _as_served(variable, plan)) for variable in variables]
            with keras.StatelessScope(state_mapping=served), _rounding_inputs(model, plan, ranges):
                logits = model(token_ids, training=False)
            loss = _divergence(logits, wanted)
        gradients = tape.gradient(loss, [variable.value for variable in variables], unconnected_gradients="zero")
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], variables)
        return loss

    ids, logits = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, model.shape.classes), tf.float32)
    return tf.function(step, input_signature=[ids, logits])


def _divergence(logits: Any, wanted: Any) -> Any:
    """Mean KL divergence from the answers wanted, in nats."""
    before, after = ops.log_softmax(wanted, axis=-1), ops.log_softmax(logits, axis=-1)
    return ops.mean(ops.sum(ops.exp(before) * (before - after), axis=-1))


def _as_served(variable: Any, plan: Plan) -> Any:
    name = variable.path.split("/", 1)[1]
    value = ops.convert_to_tensor(variable.value)
    if name in ("embedding/tokens", "embedding/positions"):
        return rounded(plan[EMBEDDING], value, by_row=True)
    if name.endswith("/kernel"):
        return rounded(plan[_layer(name.removesuffix("/kernel"))], value, by_row=False)
    return value


def _layer(dense: str) -> str:
    """Return the plan's name for a dense layer: query, key and value are one."""
    head, _, part = dense.rpartition("/")
    return f"{head}/input" if part in ("query", "key", "value") else dense


def _dense_layers(model: ElasticClassifier) -> Iterator[ElasticDense]:
    for block in model.blocks:
        attention = block.attention
        yield from (
            attention.query,
            attention.key,
            attention.value,
            attention.output_dense,
            block.expand,
            block.contract,
        )
    yield model.head


@contextmanager
def _rounding_inputs(model: ElasticClassifier, plan: Plan, ranges: Ranges) -> Iterator[None]:
    """Have the dense layers round what they are given, while the step is traced."""
    hooked = []
    for dense in _dense_layers(model):
        layer = _layer(dense.kernel.path.split("/", 1)[1].removesuffix("/kernel"))
        if plan[layer] != "float32":
            limits = ranges.get(f"{layer}/in") if plan[layer] == "int8_static" and layer != HEAD else None
            dense.call = _hooked(dense.call, limits)  # type: ignore[method-assign]
            hooked.append(dense)
    try:
        yield
    finally:
        for dense in hooked:
            del dense.call


def _hooked(call: Any, limits: tuple[float, float] | None) -> Any:
    return lambda x, *args, **kwargs: call(rounded_activations(x, limits), *args, **kwargs)
