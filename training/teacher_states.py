"""What a teacher's last layer reads and writes for each text, kept on disk: a student that copies it needs it every epoch."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from training.batches import by_length
from training.elastic_classifier import ElasticClassifier
from training.tokenization import pad

BATCH = 64


def teacher_answers(
    teacher: ElasticClassifier, sequences: Sequence[np.ndarray], store: Path | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Run a teacher once over texts.

    Parameters
    ----------
    teacher : ElasticClassifier
        Fine-tuned.
    sequences : sequence of np.ndarray
        Token ids, int32, of true length.
    store : Path or None
        A file for the states (4 bytes × the teacher's width a token), where they are wanted.

    Returns
    -------
    logits : np.ndarray
        Float32 of shape ``(n, classes)``.
    states : list of np.ndarray
        A view into the store for each text, float16 of shape ``(length, 2 * width)``: below the last layer, and above it. Empty
        without a store.
    """
    lengths = np.asarray([len(sequence) for sequence in sequences])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(int)
    logits = np.zeros((len(sequences), teacher.shape.classes), dtype=np.float32)
    wide = (int(starts[-1]), 2 * teacher.shape.width)
    states = (
        np.lib.format.open_memmap(store, mode="w+", dtype=np.float16, shape=wide) if store and len(lengths) else None
    )

    def call(ids: Any) -> Any:
        answers, hidden = teacher.answer(ids, training=False)
        return answers, tf.cast(tf.concat(hidden[-2:], axis=-1), tf.float16) if store else answers

    forward = tf.function(call, input_signature=[tf.TensorSpec((None, None), tf.int32)])
    for rows in by_length(lengths, BATCH):
        answers, hidden = forward(tf.constant(pad([sequences[row] for row in rows])))
        logits[rows] = answers.numpy()
        if states is not None:
            for row, state in zip(rows, hidden.numpy(), strict=True):
                states[starts[row] : starts[row + 1]] = state[: lengths[row]]
    if states is None:
        return logits, []
    return logits, [states[start:end] for start, end in itertools.pairwise(starts)]
