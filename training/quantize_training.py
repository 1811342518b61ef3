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
from training.quantization import (
    BLOCK,
    EMBEDDING,
    HEAD,
    Plan,
    Precision,
    Ranges,
    in_blocks,
    of_positions,
    to_int4,
    to_int4_blocks,
)
from training.schedule import adamw
from training.shape import Shape
from training.tokenization import pad

logger = logging.getLogger(__name__)

BATCH = 32
WARMUP = 0.1
TEMPERATURE = 4.0
"""Softens both answers: where the network is sure, all but one of its logits would else count for nothing. On BANKING77
the divergence that int4 left was more than halved with 4, and cut by a third with 1."""


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
        cuts = {name: tf.constant(cut) for name, cut in _cuts(named_weights(model), plan).items()}
        losses = [
            float(step(tf.constant(pad([sequences[row] for row in batch])), tf.constant(logits[batch]), cuts))
            for batch in length_grouped(lengths, BATCH, random)
        ]
        logger.info("under the rounding, epoch %d/%d  divergence %.5f", epoch + 1, epochs, np.mean(losses))
    return named_weights(model)


def rounded(precision: str, value: Any, by_row: bool, cut: Any = 1.0) -> Any:
    """Return a weight as it will be after rounding; its gradient is as if nothing had been rounded.

    Parameters
    ----------
    precision : str
        As in a plan.
    value : tensor
        A table ``(rows, columns)``, a row a token, or a kernel ``(inputs, units)``.
    by_row : bool
        Whether rows have scales of their own (a table), or columns (a kernel).
    cut : tensor
        What of the greatest weight int4 keeps: `cut_of`'s, ``(scales, 1)``.
    """
    if precision == "float32":
        return value
    rows = value if by_row else ops.transpose(value)
    if precision != "int4":
        whole = _whole(rows, 127.0, 1.0)
    elif by_row:
        whole = ops.reshape(_whole(_blocks(rows), 7.0, cut), (rows.shape[0], -1))[:, : rows.shape[1]]
    else:
        whole = _whole(rows, 7.0, cut)
    whole = whole if by_row else ops.transpose(whole)
    return value + ops.stop_gradient(whole - value)


def cut_of(value: np.ndarray, by_row: bool) -> np.ndarray:
    """Return what of its greatest weight each scale of an int4 weight keeps, float32 of shape ``(scales, 1)``."""
    if by_row:
        _, whole, unit = to_int4_blocks(value)
        rows, scales = in_blocks(value), whole.reshape(-1) * unit
    else:
        rows, (_, scales) = value.T, to_int4(value.T)
    widest = np.maximum(np.abs(rows).max(axis=1), 1e-30) / 7.0
    return (scales / widest)[:, None].astype(np.float32)


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


def _whole(rows: Any, greatest: float, cut: Any) -> Any:
    """Round rows to whole multiples of their scales, as `training.quantization` does."""
    scale = ops.maximum(ops.max(ops.abs(rows), axis=1, keepdims=True), 1e-30) / greatest * cut
    return ops.clip(ops.round(rows / scale), -greatest, greatest) * scale


def _blocks(rows: Any) -> Any:
    """Cut ``(n, m)`` into rows of one block each, zeros behind."""
    columns = rows.shape[1]
    return ops.reshape(ops.pad(rows, ((0, 0), (0, -columns % BLOCK))), (-1, BLOCK))


def _cuts(weights: dict[str, np.ndarray], plan: Plan) -> dict[str, np.ndarray]:
    """Search the cuts of what is int4: once an epoch, as the search takes ten times as long as the rounding."""
    found = {}
    for name, value in weights.items():
        layer, by_row = _rounding_of(name)
        if layer and _precision(name, plan[layer]) == "int4":
            found[name] = cut_of(value, by_row)
    return found


def _rounding_of(name: str) -> tuple[str | None, bool]:
    """Return the layer of the plan that a weight belongs to, if it is rounded at all, and whether by row."""
    if name in ("embedding/tokens", "embedding/positions"):
        return EMBEDDING, True
    if name.endswith("/kernel"):
        return _layer(name.removesuffix("/kernel")), False
    return None, False


def _step(model: ElasticClassifier, optimizer: Any, plan: Plan, ranges: Ranges) -> Any:
    """Return the traced training step: padded ids, the answers to give and the cuts, to the loss."""
    variables = model.trainable_variables
    optimizer.build(variables)

    def step(token_ids: Any, wanted: Any, cuts: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            served = [(variable, _as_served(variable, plan, cuts)) for variable in variables]
            with keras.StatelessScope(state_mapping=served), _rounding_inputs(model, plan, ranges):
                logits = model(token_ids, training=False)
            loss = _divergence(logits, wanted)
        gradients = tape.gradient(loss, [variable.value for variable in variables], unconnected_gradients="zero")
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], variables)
        return loss

    ids, logits = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, model.shape.classes), tf.float32)
    kept = {name: tf.TensorSpec(cut.shape, tf.float32) for name, cut in _cuts(named_weights(model), plan).items()}
    return tf.function(step, input_signature=[ids, logits, kept])


def _divergence(logits: Any, wanted: Any) -> Any:
    """Mean KL divergence from the answers wanted, both softened (Hinton et al. 2015, section 2), in nats."""
    before, after = (ops.log_softmax(side / TEMPERATURE, axis=-1) for side in (wanted, logits))
    return TEMPERATURE**2 * ops.mean(ops.sum(ops.exp(before) * (before - after), axis=-1))


def _as_served(variable: Any, plan: Plan, cuts: dict[str, Any]) -> Any:
    name = variable.path.split("/", 1)[1]
    layer, by_row = _rounding_of(name)
    value = ops.convert_to_tensor(variable.value)
    return value if layer is None else rounded(_precision(name, plan[layer]), value, by_row, cuts.get(name, 1.0))


def _precision(name: str, precision: Precision) -> Precision:
    return of_positions(precision) if name == "embedding/positions" else precision


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
