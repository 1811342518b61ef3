"""Runs a Keras classifier over many texts."""

from typing import Any

import numpy as np
import tensorflow as tf

from training.batches import by_length
from training.shape import Size
from training.tokenization import pad

BATCH = 64


def predict_logits(model: Any, sequences: list[np.ndarray], size: Size | None = None) -> np.ndarray:
    """Return an elastic classifier's logits for token ids of true length, float32 of shape ``(n, classes)``."""

    def call(token_ids: Any) -> Any:
        return model(token_ids, training=False, size=size)

    forward = tf.function(call, input_signature=[tf.TensorSpec((None, None), tf.int32)])
    logits = np.zeros((len(sequences), model.shape.classes), dtype=np.float32)
    for rows in by_length(np.asarray([len(sequence) for sequence in sequences]), BATCH):
        logits[rows] = forward(tf.constant(pad([sequences[row] for row in rows]))).numpy()
    return logits
