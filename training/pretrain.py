"""Continues the checkpoint's pretraining on the app's own texts: masked-language modelling, no label needed.

For domains whose words a general checkpoint has seldom seen (Gururangan et al. 2020, https://arxiv.org/abs/2004.10964).
"""

import logging
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from safetensors import safe_open

from ledger.errors import ConfigurationError
from training.batches import length_grouped
from training.progress import Progress
from training.schedule import adamw
from training.tokenization import PADDING, pad

logger = logging.getLogger(__name__)

MASKED, AS_MASK, AS_OTHER = 0.15, 0.8, 0.1
"""The share of tokens to be guessed; of these, the shares shown as ``[MASK]`` and as any token (Devlin et al. 2019, 3.1)."""
BATCH, RATE, WARMUP, DECAY = 16, 5e-5, 0.06, 0.01
OWN_HEAD = {
    "cls.predictions.transform.dense.weight": "kernel",
    "cls.predictions.transform.dense.bias": "bias",
    "cls.predictions.transform.LayerNorm.weight": "gamma",
    "cls.predictions.transform.LayerNorm.bias": "beta",
    "cls.predictions.bias": "output_bias",
}


def mask_tokens(
    ids: np.ndarray, special: np.ndarray, mask_id: int, vocabulary: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hide tokens to be guessed.

    Parameters
    ----------
    ids : np.ndarray
        Padded token ids, int32 of shape ``(batch, length)``.
    special : np.ndarray
        Ids that are never hidden; padding is not either.
    mask_id, vocabulary : int
        The id of ``[MASK]``; the number of ids, from which other tokens are drawn.
    random : np.random.Generator
        The source of every choice.

    Returns
    -------
    shown : np.ndarray
        As ``ids``, with tokens hidden.
    hidden : np.ndarray
        Which are to be guessed, bool of the same shape; one at least in a text that has a token to hide.
    """
    allowed = ~np.isin(ids, special) & (ids != PADDING)
    draw = np.where(allowed, random.random(ids.shape), 2.0)
    hidden = draw < MASKED
    first = draw.argmin(axis=1)
    rows = np.arange(len(ids))
    hidden[rows, first] |= allowed[rows, first]
    how = random.random(ids.shape)
    others = random.integers(0, vocabulary, ids.shape, dtype=ids.dtype)
    shown = np.where(hidden & (how < AS_MASK), mask_id, ids)
    shown = np.where(hidden & (how >= AS_MASK) & (how < AS_MASK + AS_OTHER), others, shown)
    return shown.astype(ids.dtype), hidden


def language_head(backbone: Any, checkpoint: Path) -> Any:
    """Return a head that guesses tokens: a transform, then the token embedding's own table, and a bias.

    The transform is the checkpoint's, where it brings one; else it starts anew (MiniLM brings none).
    """
    head = keras_hub.layers.MaskedLMHead(
        token_embedding=backbone.token_embedding,
        intermediate_activation="gelu",
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        layer_norm_epsilon=1e-12,
        name="language_head",
    )
    head.build((None, None, backbone.hidden_dim), mask_positions_shape=(None, None))
    with safe_open(checkpoint / "model.safetensors", framework="numpy") as file:
        names = set(file.keys())
        if set(OWN_HEAD) <= names:
            values = {ours: file.get_tensor(theirs) for theirs, ours in OWN_HEAD.items()}
            values["kernel"] = values["kernel"].T
            for variable in head.weights:
                ours = variable.path.rpartition("/")[2]
                if ours in values and tuple(variable.shape) == values[ours].shape:
                    variable.assign(values[ours])
    return head


def pretrain(
    backbone: Any,
    checkpoint: Path,
    sequences: list[np.ndarray],
    special: np.ndarray,
    mask_id: int,
    epochs: int,
    seed: int,
) -> list[float]:
    """Train the whole backbone in place to guess hidden tokens, and return each epoch's mean loss.

    Parameters
    ----------
    backbone : keras_hub.models.BertBackbone
        Trained in place; all its layers learn.
    checkpoint : Path
        The folder it was loaded from.
    sequences : list of np.ndarray
        Token ids, int32, of true length: texts to learn from, never gold or test.
    special : np.ndarray
        Ids of the special tokens.
    mask_id : int
        The id of ``[MASK]``.
    epochs : int
        0 leaves the backbone as it is.
    seed : int
        Of the order and of the masks, which differ from epoch to epoch.

    Raises
    ------
    ConfigurationError
        If it runs under a strategy of several replicas: it trains on one device.
    """
    if not epochs:
        return []
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ConfigurationError(
            "teach.pretrain_epochs: pretraining runs on one device; set hardware.strategy to none, or it to 0"
        )
    random = np.random.default_rng(seed)
    head = language_head(backbone, checkpoint)
    lengths = np.asarray([len(sequence) for sequence in sequences])
    steps = epochs * -(-len(sequences) // BATCH)
    optimizer = adamw(RATE, steps, WARMUP, DECAY)
    positions = keras.Input((None,), dtype="int32", name="mask_positions")
    model = keras.Model([backbone.inputs, positions], head(backbone.output["sequence_output"], positions))
    optimizer.build(model.trainable_variables)
    names = [tensor.name for tensor in backbone.inputs]

    def step(ids: Any, mask: Any, places: Any, targets: Any, weights: Any) -> Any:
        parts = {"token_ids": ids, "segment_ids": tf.zeros_like(ids), "padding_mask": mask}
        with tf.GradientTape() as tape:
            logits = tf.cast(model([[parts[name] for name in names], places], training=True), tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
        return loss

    whole = tf.TensorSpec((None, None), tf.int32)
    graph = tf.function(step, input_signature=[whole, whole, whole, whole, tf.TensorSpec((None, None), tf.float32)])
    history: list[float] = []
    progress = Progress(logger, epochs, len(sequences), what="pretraining epoch")
    for epoch in range(1, epochs + 1):
        losses = []
        for rows in length_grouped(lengths, BATCH, random):
            ids = pad([sequences[row] for row in rows])
            shown, hidden = mask_tokens(ids, special, mask_id, backbone.vocabulary_size, random)
            places = pad([np.flatnonzero(row).astype(np.int32) for row in hidden])
            weights = pad([np.ones(row.sum(), dtype=np.float32) for row in hidden])
            if weights.sum() > 0:
                targets = np.take_along_axis(ids, places, axis=1)
                mask = (ids != PADDING).astype(np.int32)
                losses.append(float(graph(*map(tf.constant, (shown, mask, places, targets, weights)))))
            progress.rows(epoch, len(rows))
        history.append(float(np.mean(losses)) if losses else 0.0)
        progress.epoch(epoch, {"loss": history[-1]})
    return history
