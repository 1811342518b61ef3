"""Makes a training run repeat itself to the byte."""

import keras
import tensorflow as tf


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and have TensorFlow run each operation in one fixed order.

    On one machine the same rows then give the same model bytes. Another number of cores may add up in another
    order, and so differ in the last digits.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
