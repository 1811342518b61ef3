"""What a student is held to: the teacher's logits, its hidden states, the relations between its tokens."""

from typing import Any

import tensorflow as tf

RELATION_HEADS = 12
"""Into so many parts queries, keys and values are divided before tokens are compared; where a network has fewer dimensions, one a head."""


def logits_loss(logits: Any, teacher_logits: Any, temperature: float) -> Any:
    """Return the mean cross-entropy to the teacher's softened answers, scaled to keep its gradient's size.

    Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2: its gradient is the KL divergence's.
    """
    targets = tf.nn.softmax(teacher_logits / temperature)
    return temperature**2 * tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits / temperature))


def hidden_loss(states: Any, teacher_states: Any, mask: Any) -> Any:
    """Return the mean squared difference of hidden states over the tokens that are there.

    Jiao et al. 2020, TinyBERT, https://arxiv.org/abs/1909.10351, section 3.1, equation 8.
    """
    difference = tf.reduce_mean(tf.square(states - teacher_states), axis=-1)
    return tf.reduce_sum(difference * mask) / tf.maximum(tf.reduce_sum(mask), 1.0)


def relations_loss(ours: list[Any], theirs: list[Any], mask: Any) -> Any:
    """Return the mean divergence between how tokens relate in the student's queries, keys and values, and in the teacher's.

    Wang et al. 2021, MiniLMv2, https://arxiv.org/abs/2012.15828, section 3.1: each compared with itself, in heads of the relation's own
    number, so that teacher and student may differ in width and in heads.

    Parameters
    ----------
    ours, theirs : list of tensors
        Queries, keys and values, each ``(batch, length, dimensions)``.
    mask : tensor
        Float32 of shape ``(batch, length)``: 1 for a token.
    """
    total = 0.0
    for mine, target in zip(ours, theirs, strict=True):
        heads = _common_heads(mine.shape[-1], target.shape[-1])
        wanted = tf.nn.softmax(_relations(target, heads, mask))
        found = tf.nn.log_softmax(_relations(mine, heads, mask))
        divergence = tf.reduce_sum(wanted * (tf.math.log(wanted + 1e-9) - found), axis=-1)
        by_token = tf.reduce_mean(divergence, axis=1)
        total += tf.reduce_sum(by_token * mask) / tf.maximum(tf.reduce_sum(mask), 1.0)
    return total / len(ours)


def _common_heads(*widths: int) -> int:
    return next(heads for heads in range(RELATION_HEADS, 0, -1) if all(width % heads == 0 for width in widths))


def _relations(x: Any, heads: int, mask: Any) -> Any:
    """Scaled products of a projection with itself, ``(batch, heads, length, length)``."""
    shape = tf.shape(x)
    width = x.shape[-1] // heads
    split = tf.transpose(tf.reshape(x, (shape[0], shape[1], heads, width)), (0, 2, 1, 3))
    scores = tf.matmul(split, split, transpose_b=True) / width**0.5
    return scores + (1.0 - mask[:, None, None, :]) * -1e4
