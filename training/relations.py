"""The teacher's last attention, for a student to copy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from training.model_files import Model


@dataclass(frozen=True)
class TeacherAttention:
    """Queries, keys and values of a teacher's last layer.

    Attributes
    ----------
    kernels : tuple of np.ndarray
        Float32 of shape ``(width, dimensions)`` each: query, key, value.
    biases : tuple of np.ndarray
        Float32 of shape ``(dimensions,)`` each.
    """

    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def project(self, below: Any) -> list[Any]:
        """Project hidden states below the last layer, ``(batch, length, width)``."""
        return [tf.matmul(below, kernel) + bias for kernel, bias in zip(self.kernels, self.biases, strict=True)]


def last_attention(teacher: Model) -> TeacherAttention:
    """Return the projections of a teacher's last layer."""
    names = [f"block_{teacher.shape.depth - 1}/attention/{part}" for part in ("query", "key", "value")]
    kernels = tuple(teacher.weights[f"{name}/kernel"] for name in names)
    return TeacherAttention(kernels, tuple(teacher.weights[f"{name}/bias"] for name in names))
