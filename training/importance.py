"""How much a network's heads, neurons and dimensions matter: first-order importance, measured where it answers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from training.batches import by_length
from training.elastic_classifier import build
from training.model_files import Model
from training.shape import Shape
from training.tokenization import pad

BATCH = 32


@dataclass(frozen=True)
class Importance:
    """What the loss would change by, to first order, if a part were taken out.

    Attributes
    ----------
    heads : list of np.ndarray
        A layer each: float64 of shape ``(heads,)``.
    neurons : list of np.ndarray
        A layer each: float64 of shape ``(feedforward,)``.
    dimensions : np.ndarray
        Of the hidden states, float64 of shape ``(width,)``.
    """

    heads: list[np.ndarray]
    neurons: list[np.ndarray]
    dimensions: np.ndarray


def measure_importance(model: Model, sequences: list[np.ndarray], targets: np.ndarray) -> Importance:
    """Measure importance over texts: the mean of squared first-order changes of the loss, a batch at a time.

    Molchanov et al. 2019, https://arxiv.org/abs/1906.10771, equation 8, with a gate on each head and neuron as in Michel et al. 2019,
    https://arxiv.org/abs/1905.10650: a gate's gradient is the sum over its outgoing weights of weight times gradient.

    Parameters
    ----------
    model : Model
        The network.
    sequences : list of np.ndarray
        Token ids of train texts, int32.
    targets : np.ndarray
        What the loss compares with: probabilities, float32 of shape ``(n, classes)``.
    """
    shape, network = model.shape, build(model.shape, model.weights)
    heads = [np.zeros(shape.heads) for _ in range(shape.depth)]
    neurons = [np.zeros(shape.feedforward) for _ in range(shape.depth)]
    dimensions = np.zeros(shape.width)
    norms = [network.embedding.norm, *(n for b in network.blocks for n in (b.attention_norm, b.feedforward_norm))]
    outputs = [block.attention.output_dense.kernel for block in network.blocks]
    contracts = [block.contract.kernel for block in network.blocks]
    watched = [*outputs, *contracts, *(norm.gamma for norm in norms), *(norm.beta for norm in norms)]

    def gates(ids: Any, wanted: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(wanted, network(ids, training=False)))
        values = [variable.value for variable in watched]
        return [value * gradient for value, gradient in zip(values, tape.gradient(loss, values), strict=True)]

    signature = [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, shape.classes), tf.float32)]
    changes = tf.function(gates, input_signature=signature)
    for rows in by_length(np.asarray([len(sequence) for sequence in sequences]), BATCH):
        found = [np.asarray(part) for part in changes(pad([sequences[row] for row in rows]), targets[rows])]
        for layer in range(shape.depth):
            heads[layer] += found[layer].sum(axis=1).reshape(shape.heads, -1).sum(axis=1) ** 2
            neurons[layer] += found[shape.depth + layer].sum(axis=1) ** 2
        dimensions += np.square(np.sum(found[2 * shape.depth :], axis=0))
    return Importance(heads, neurons, dimensions)


def reorder(shape: Shape, weights: dict[str, np.ndarray], importance: Importance) -> dict[str, np.ndarray]:
    """Put the heads and neurons of each layer, and the dimensions, in order of importance; the network's answers stay the same.

    A leading slice then keeps what matters most (Hou et al. 2020, DynaBERT, https://arxiv.org/abs/2004.04037, section 2.1.1).
    """
    width = np.argsort(-importance.dimensions, kind="stable")
    ordered = dict(weights)
    for layer in range(shape.depth):
        block = f"block_{layer}"
        heads = np.argsort(-importance.heads[layer], kind="stable")
        attended = np.arange(shape.attended).reshape(shape.heads, -1)[heads].ravel()
        neurons = np.argsort(-importance.neurons[layer], kind="stable")
        for name, order in (
            *((f"attention/{part}", attended) for part in ("query", "key", "value")),
            ("expand", neurons),
        ):
            ordered[f"{block}/{name}/kernel"] = weights[f"{block}/{name}/kernel"][width][:, order]
            ordered[f"{block}/{name}/bias"] = weights[f"{block}/{name}/bias"][order]
        for name, order in (("attention/output", attended), ("contract", neurons)):
            ordered[f"{block}/{name}/kernel"] = weights[f"{block}/{name}/kernel"][order][:, width]
            ordered[f"{block}/{name}/bias"] = weights[f"{block}/{name}/bias"][width]
    for name, weight in weights.items():
        if name.endswith(("/gamma", "/beta")):
            ordered[name] = weight[width]
        elif name.startswith("embedding/"):
            ordered[name] = weight[:, width]
    ordered["head/kernel"] = weights["head/kernel"][width]
    return {name: np.ascontiguousarray(weight) for name, weight in ordered.items()}


def keep_layers(model: Model, layers: tuple[int, ...]) -> Model:
    """Return a model of some of a model's layers, in this order; the others are left out."""
    weights = {name: weight for name, weight in model.weights.items() if not name.startswith("block_")}
    for new, old in enumerate(layers):
        prefix = f"block_{old}/"
        weights |= {
            f"block_{new}/{name.removeprefix(prefix)}": weight
            for name, weight in model.weights.items()
            if name.startswith(prefix)
        }
    return replace(model, shape=replace(model.shape, depth=len(layers)), weights=weights)
