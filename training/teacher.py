"""The teacher: a pretrained BERT of KerasHub, frozen below, fine-tuned above, with a head on what its tokens say together."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from training.backbone import activation_of, epsilon_of
from training.batches import by_length
from training.layers.adapted_encoder import AdaptedEncoder
from training.layers.adapter import Adapter
from training.layers.masked_mean_pooling import MaskedMeanPooling
from training.shape import Shape
from training.tokenization import PADDING, pad

INFERENCE_BATCH = 64

Method = Literal["layers", "full", "lora", "adapters"]
"""What of the pretrained network learns; `split_teacher` explains."""

Pooling = Literal["mean", "cls"]


@dataclass(frozen=True)
class Teacher:
    """A teacher in two parts that share nothing but the hidden states between them.

    Attributes
    ----------
    backbone : keras_hub.models.BertBackbone
        The whole encoder.
    lower : keras.Model or None
        ``(token_ids, padding_mask, segment_ids)`` to the hidden states below the first trained layer. Frozen.
        None where nothing is frozen: then the token ids are the "states".
    upper : keras.Model
        ``(states, padding_mask)`` to logits. Trained.
    run_lower, run_upper : callable
        The two, traced once for any batch and length, without dropout.
    adapters : list of (Adapter, Adapter)
        After attention and after the feed-forward network of each of the last layers; empty for other methods.
    pooling : str
        ``mean`` or ``cls``.
    """

    backbone: Any
    lower: Any
    upper: Any
    run_lower: Any
    run_upper: Any
    adapters: list[tuple[Adapter, Adapter]]
    pooling: Pooling


def split_teacher(
    backbone: Any,
    classes: int,
    trainable_layers: int,
    dropout: float,
    method: Method = "layers",
    rank: int = 8,
    pooling: Pooling = "mean",
) -> Teacher:
    """Split a backbone below its last ``trainable_layers`` and put a head on it.

    Parameters
    ----------
    backbone : keras_hub.models.BertBackbone
        Its layers become the teacher's; nothing is copied.
    classes : int
        The number of labels.
    trainable_layers : int
        The last layers, that learn by ``method``; 0 trains the head alone. Not read for ``full``.
    dropout : float
        Before the head.
    method : str
        ``layers``: all weights of the last layers. ``full``: all weights of all layers, the embeddings too.
        ``lora``: a low-rank addition to each kernel of the last layers (Hu et al. 2021, https://arxiv.org/abs/2106.09685).
        ``adapters``: a bottleneck after attention and after the feed-forward network of the last layers, and their
        normalizations (Houlsby et al. 2019, https://arxiv.org/abs/1902.00751).
    rank : int
        Of ``lora``; neurons of the bottleneck of ``adapters``.
    pooling : str
        What the head reads: the ``mean`` of the tokens, or the first, ``cls``.
    """
    layers = backbone.transformer_layers
    cut = 0 if method == "full" else max(len(layers) - trainable_layers, 0)
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    if method == "full":
        lower, hidden = None, keras.Input((None,), dtype="int32", name="token_ids")
        x = _embedded(backbone, hidden)
    else:
        below = layers[cut - 1].output if cut else backbone.embeddings_dropout.output
        lower = keras.Model(backbone.inputs, below, name="lower")
        x = hidden = keras.Input((None, backbone.hidden_dim), name="hidden")
    adapters = []
    for layer in layers[cut:]:
        if method == "adapters":
            pair = _adapters(backbone, layer, rank)
            adapters.append(pair)
            x = AdaptedEncoder(layer, *pair, name=f"{layer.name}_adapted")(x, mask)
        else:
            if method == "lora":
                _enable_lora(layer, rank)
            x = layer(x, padding_mask=mask)
    pooled = MaskedMeanPooling(name="pooling")(x, mask) if pooling == "mean" else x[:, 0]
    pooled = keras.layers.Dropout(dropout, name="head_dropout")(pooled)
    logits = keras.layers.Dense(classes, name="head")(pooled)
    upper = keras.Model([hidden, mask], logits, name="upper")
    ids = tf.TensorSpec((None, None), tf.int32)
    states = tf.TensorSpec((None, *hidden.shape[1:]), hidden.dtype)
    run_lower = lower and tf.function(
        lambda token_ids: lower(whole_inputs(token_ids), training=False), input_signature=[ids]
    )
    run_upper = tf.function(lambda x, kept: upper([x, kept], training=False), input_signature=[states, ids])
    return Teacher(backbone, lower, upper, run_lower, run_upper, adapters, pooling)


def _embedded(backbone: Any, token_ids: Any) -> Any:
    """Embed a text of one segment, as BertBackbone does."""
    tokens = backbone.token_embedding(token_ids)
    parts = (tokens, backbone.position_embedding(tokens), backbone.segment_embedding(ops.zeros_like(token_ids)))
    return backbone.embeddings_dropout(backbone.embeddings_layer_norm(backbone.embeddings_add(parts)))


def _dense_layers(layer: Any) -> dict[str, Any]:
    """Return the dense layers of a TransformerEncoder by the elastic classifier's names."""
    attention = layer._self_attention_layer
    return {
        "attention/query": attention.query_dense,
        "attention/key": attention.key_dense,
        "attention/value": attention.value_dense,
        "attention/output": attention.output_dense,
        "expand": layer._feedforward_intermediate_dense,
        "contract": layer._feedforward_output_dense,
    }


def _norms(layer: Any) -> dict[str, Any]:
    """Return the normalizations of a TransformerEncoder by the elastic classifier's names."""
    return {"attention_norm": layer._self_attention_layer_norm, "feedforward_norm": layer._feedforward_layer_norm}


def _enable_lora(layer: Any, rank: int) -> None:
    """Let a layer learn by low-rank additions to its kernels, and by nothing else."""
    for norm in _norms(layer).values():
        norm.trainable = False
    for dense in _dense_layers(layer).values():
        dense.enable_lora(rank)  # freezes the kernel
        dense.bias.trainable = False


def _adapters(backbone: Any, layer: Any, bottleneck: int) -> tuple[Adapter, Adapter]:
    """Make a layer's two adapters, and freeze all of the layer but its normalizations."""
    for dense in _dense_layers(layer).values():
        dense.trainable = False
    sizes = (backbone.hidden_dim, bottleneck, activation_of(backbone))
    return (
        Adapter(*sizes, name=f"{layer.name}_attention_adapter"),
        Adapter(*sizes, name=f"{layer.name}_feedforward_adapter"),
    )


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
        Its ``lower`` is run; where nothing is frozen there is none, and the sequences themselves are returned.
    sequences : list of np.ndarray
        Token ids, int32, of true length.
    store : Path
        A file that holds the states (4 bytes × hidden width a token) on disk rather than in memory.

    Returns
    -------
    list of np.ndarray
        A view into the store for each text: float32 of shape ``(length, width)``.
    """
    if teacher.lower is None:
        return sequences
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
        activation=activation_of(backbone),
        epsilon=epsilon_of(backbone),
        dropout=backbone.dropout,
        pooling=teacher.pooling,
        adapter=teacher.adapters[0][0].bottleneck if teacher.adapters else 0,
    )


def plain_weights(teacher: Teacher) -> dict[str, np.ndarray]:
    """Rewrite the teacher's weights under the elastic classifier's names, so that one code exports both.

    Attention kernels lose their separate axis of heads; the segment embedding of a single text, a constant,
    joins the positions'. What LoRA learned is added to its kernels. Adapters, which no kernel can take up, stay
    layers of their own; the frozen blocks below get adapters of zeros, which add nothing. The logits stay the same.
    """
    backbone, sizes = teacher.backbone, plain_shape(teacher).weights()
    norm = backbone.embeddings_layer_norm
    segment = np.asarray(backbone.segment_embedding.embeddings)[0]
    found: dict[str, Any] = {name: np.zeros(size, np.float32) for name, size in sizes.items() if "_adapter/" in name}
    found |= {
        "embedding/tokens": backbone.token_embedding.embeddings,
        "embedding/positions": np.asarray(backbone.position_embedding.position_embeddings) + segment,
        "embedding/norm/gamma": norm.gamma,
        "embedding/norm/beta": norm.beta,
    }
    for number, layer in enumerate(backbone.transformer_layers):
        for name, dense in _dense_layers(layer).items():
            found |= {f"block_{number}/{name}/kernel": dense.kernel, f"block_{number}/{name}/bias": dense.bias}
        for name, norm in _norms(layer).items():
            found |= {f"block_{number}/{name}/gamma": norm.gamma, f"block_{number}/{name}/beta": norm.beta}
    for number, pair in enumerate(teacher.adapters, start=backbone.num_layers - len(teacher.adapters)):
        for name, adapter in zip(("attention_adapter", "feedforward_adapter"), pair, strict=True):
            for part in ("down", "up"):
                dense, path = getattr(adapter, part), f"block_{number}/{name}/{part}"
                found |= {f"{path}/kernel": dense.kernel, f"{path}/bias": dense.bias}
    head = teacher.upper.get_layer("head")
    found |= {"head/kernel": head.kernel, "head/bias": head.bias}
    return {name: np.asarray(found[name]).reshape(size) for name, size in sizes.items()}
