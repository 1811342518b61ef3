"""The teacher: a pretrained BERT of KerasHub, frozen below, fine-tuned above, with a head on the mean of its tokens."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import ops

from ledger.errors import CheckpointError
from training.batches import by_length
from training.layers.masked_mean_pooling import MaskedMeanPooling
from training.shape import Shape
from training.tokenization import PADDING, pad

INFERENCE_BATCH = 64
EPSILON = 1e-12  # of KerasHub's BERT


@dataclass(frozen=True)
class Teacher:
    """A teacher in two parts that share nothing but the hidden states between them.

    Attributes
    ----------
    backbone : keras_hub.models.BertBackbone
        The whole encoder.
    lower : keras.Model
        ``(token_ids, padding_mask, segment_ids)`` to the hidden states below the first trained layer. Frozen.
    upper : keras.Model
        ``(hidden states, padding_mask)`` to logits. Trained.
    run_lower, run_upper : callable
        The two, traced once for any batch and length, without dropout.
    """

    backbone: Any
    lower: Any
    upper: Any
    run_lower: Any
    run_upper: Any


def load_backbone(folder: Path) -> Any:
    """Load a BERT checkpoint in Hugging Face's format into KerasHub.

    Raises
    ------
    CheckpointError
        If KerasHub cannot read it as BERT.
    """
    try:
        return keras_hub.models.BertBackbone.from_preset(str(folder))
    except Exception as error:  # KerasHub raises whatever its loaders raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{folder}: KerasHub cannot load it as a BERT encoder ({reason})") from None


def split_teacher(backbone: Any, classes: int, trainable_layers: int, dropout: float) -> Teacher:
    """Split a backbone below its last ``trainable_layers`` and put a head on it.

    Parameters
    ----------
    backbone : keras_hub.models.BertBackbone
        Its layers become the teacher's; nothing is copied.
    classes : int
        The number of labels.
    trainable_layers : int
        0 trains the head alone; with all layers only the embeddings stay frozen.
    dropout : float
        Before the head.
    """
    layers = backbone.transformer_layers
    trainable_layers = min(trainable_layers, len(layers))
    cut = len(layers) - trainable_layers
    below = layers[cut - 1].output if cut else backbone.embeddings_dropout.output
    lower = keras.Model(backbone.inputs, below, name="lower")
    hidden = keras.Input((None, backbone.hidden_dim), name="hidden")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = hidden
    for layer in layers[cut:]:
        x = layer(x, padding_mask=mask)
    pooled = keras.layers.Dropout(dropout, name="head_dropout")(MaskedMeanPooling(name="pooling")(x, mask))
    logits = keras.layers.Dense(classes, name="head")(pooled)
    upper = keras.Model([hidden, mask], logits, name="upper")
    ids = tf.TensorSpec((None, None), tf.int32)
    states = tf.TensorSpec((None, None, backbone.hidden_dim), tf.float32)
    run_lower = tf.function(lambda token_ids: lower(whole_inputs(token_ids), training=False), input_signature=[ids])
    run_upper = tf.function(lambda x, kept: upper([x, kept], training=False), input_signature=[states, ids])
    return Teacher(backbone, lower, upper, run_lower, run_upper)


def whole_inputs(token_ids: Any) -> dict[str, Any]:
    """Return what KerasHub's BERT takes for padded int32 ids of shape ``(batch, length)``."""
    return {
        "token_ids": token_ids,
        "segment_ids": ops.zeros_like(token_ids),
        "padding_mask": ops.cast(ops.not_equal(token_ids, PADDING), "int32"),
    }


def hidden_states(teacher: Teacher, sequences: list[np.ndarray], store: Path) -> list[np.ndarray]:
    """Compute the frozen part's output once for every text; training then never runs it again.

    Parameters
    ----------
    teacher : Teacher
        Its ``lower`` is run.
    sequences : list of np.ndarray
        Token ids, int32, of true length.
    store : Path
        A file that holds the states (4 bytes × hidden width a token) on disk rather than in memory.

    Returns
    -------
    list of np.ndarray
        A view into the store for each text: float32 of shape ``(length, width)``.
    """
    lengths = np.asarray([len(sequence) for sequence in sequences])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    width = teacher.backbone.hidden_dim
    states = np.lib.format.open_memmap(store, mode="w+", dtype=np.float32, shape=(int(starts[-1]), width))
    for rows in by_length(lengths, INFERENCE_BATCH):
        output = teacher.run_lower(tf.constant(pad([sequences[row] for row in rows])))
        for row, state in zip(rows, output.numpy(), strict=True):
            states[starts[row] : starts[row + 1]] = state[: lengths[row]]
    return [states[start:end] for start, end in itertools.pairwise(starts)]


def upper_inputs(states: list[np.ndarray]) -> list[np.ndarray]:
    """Pad hidden states, and return them with their mask."""
    mask = pad([np.ones(len(state), dtype=np.int32) for state in states])
    return [pad(states), mask]


def upper_logits(teacher: Teacher, states: list[np.ndarray]) -> np.ndarray:
    """Return the logits of every text from its hidden states, float32 of shape ``(n, classes)``."""
    lengths = np.asarray([len(state) for state in states])
    logits = np.zeros((len(states), teacher.upper.output_shape[-1]), dtype=np.float32)
    for rows in by_length(lengths, INFERENCE_BATCH):
        logits[rows] = teacher.run_upper(*map(tf.constant, upper_inputs([states[row] for row in rows]))).numpy()
    return logits


def plain_shape(teacher: Teacher) -> Shape:
    """Describe the teacher's network as the elastic classifier's."""
    backbone = teacher.backbone
    return Shape(
        vocabulary=backbone.vocabulary_size,
        positions=backbone.max_sequence_length,
        classes=teacher.upper.output_shape[-1],
        width=backbone.hidden_dim,
        depth=backbone.num_layers,
        heads=backbone.num_heads,
        head_width=backbone.hidden_dim // backbone.num_heads,
        feedforward=backbone.intermediate_dim,
        activation="gelu_tanh",
        epsilon=EPSILON,
        dropout=backbone.dropout,
    )


def plain_weights(teacher: Teacher) -> dict[str, np.ndarray]:
    """Rewrite the teacher's weights under the elastic classifier's names, so that one code exports both.

    Attention kernels lose their separate axis of heads; the segment embedding of a single text, a constant,
    joins the positions'. The logits stay the same.
    """
    backbone = teacher.backbone
    ours = {weight.path: np.asarray(weight) for weight in backbone.weights}
    width = backbone.hidden_dim
    weights = {
        "embedding/tokens": ours["token_embedding/embeddings"],
        "embedding/positions": ours["position_embedding/embeddings"] + ours["segment_embedding/embeddings"][0],
        "embedding/norm/gamma": ours["embeddings_layer_norm/gamma"],
        "embedding/norm/beta": ours["embeddings_layer_norm/beta"],
    }
    attention = {"query": "query", "key": "key", "value": "value", "output": "attention_output"}
    others = {
        "attention_norm": "self_attention_layer_norm",
        "expand": "feedforward_intermediate_dense",
        "contract": "feedforward_output_dense",
        "feedforward_norm": "feedforward_layer_norm",
    }
    for number in range(backbone.num_layers):
        block, layer = f"block_{number}", f"transformer_layer_{number}"
        for plain, theirs in attention.items():
            path = f"{layer}/self_attention_layer/{theirs}"
            weights[f"{block}/attention/{plain}/kernel"] = ours[f"{path}/kernel"].reshape(width, width)
            weights[f"{block}/attention/{plain}/bias"] = ours[f"{path}/bias"].reshape(width)
        for plain, theirs in others.items():
            for part in ("gamma", "beta") if plain.endswith("norm") else ("kernel", "bias"):
                weights[f"{block}/{plain}/{part}"] = ours[f"{layer}/{theirs}/{part}"]
    kernel, bias = (np.asarray(weight) for weight in teacher.upper.get_layer("head").weights)
    return weights | {"head/kernel": kernel, "head/bias": bias}
