"""Writes a classifier in LiteRT's format (.tflite), free in batch and length, for plain LiteRT."""

import tempfile
from typing import Any

import tensorflow as tf

from training.elastic_classifier import ElasticClassifier


def litert_bytes(model: ElasticClassifier, precision: str) -> bytes:
    """Convert a Keras classifier.

    Only LiteRT's own operations are allowed: a graph that needs TensorFlow's fails here, not on a server.

    Parameters
    ----------
    model : ElasticClassifier
        Run at its full size.
    precision : str
        ``float32``, or ``int8`` for dynamic range: weights in int8, activations quantized as they come
        (https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_quantization).

    Returns
    -------
    bytes
        Input 0: int32 ids ``(batch, length)``, 0 is padding. Output 0: float32 logits ``(batch, classes)``.
    """

    def call(token_ids: Any) -> Any:
        return model(token_ids, training=False)

    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.forward = tf.function(call, input_signature=[tf.TensorSpec((None, None), tf.int32, name="token_ids")])
    with tempfile.TemporaryDirectory() as scratch:
        # By way of a SavedModel the converter itself turns the weights into constants, in a third of the time.
        tf.saved_model.save(module, scratch, signatures=module.forward.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch)
        return _converted(converter, precision)


def _converted(converter: Any, precision: str) -> bytes:
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())
