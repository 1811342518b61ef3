"""Scores to probabilities."""

import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return probabilities in proportion to exp(score), float64 of the scores' shape; works in place of the scores."""
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores
