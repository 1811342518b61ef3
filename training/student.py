"""The student before training: its shape, and embeddings inherited from the teacher."""

import numpy as np

from training.shape import Shape


def student_shape(
    teacher: Shape, vocabulary: int, positions: int, width: int, depth: int, heads: int, dropout: float
) -> Shape:
    """Return the full-size student's shape: the teacher's proportions, ReLU for its speed on a CPU."""
    return Shape(
        vocabulary=vocabulary,
        positions=positions,
        classes=teacher.classes,
        width=width,
        depth=depth,
        heads=heads,
        feedforward=teacher.feedforward // teacher.width * width,
        activation="relu",
        epsilon=teacher.epsilon,
        dropout=dropout,
    )


def principal_axes(vectors: np.ndarray, weights: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the leading axes of weighted vectors, the axis of most variance first.

    Ordered so, the leading dimensions that a narrow slice keeps are those that say most.

    Parameters
    ----------
    vectors : np.ndarray
        Of shape ``(n, dimensions)``.
    weights : np.ndarray
        Of shape ``(n,)``, at least 0.
    width : int
        The number of axes; at most the number of dimensions.

    Returns
    -------
    mean : np.ndarray
        Float64 of shape ``(dimensions,)``.
    axes : np.ndarray
        Float64 of shape ``(dimensions, width)``, orthonormal; the largest entry of each is positive.
    """
    share = weights / weights.sum()
    mean = share @ vectors.astype(np.float64)
    centred = vectors - mean
    variances, axes = np.linalg.eigh(centred.T @ (centred * share[:, None]))
    axes = axes[:, np.argsort(variances)[::-1][:width]]
    signs = np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return mean, axes * signs


def inherit_embeddings(
    student: dict[str, np.ndarray], vectors: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Replace a fresh student's token embeddings by the teacher's, projected onto their leading axes.

    Parameters
    ----------
    student : dict of str to np.ndarray
        The weights of the fresh student.
    vectors : np.ndarray
        A vector of the teacher for each token of the student's vocabulary, float32 of shape ``(vocabulary, teacher width)``.
    counts : np.ndarray
        How often the corpus has each token, of shape ``(vocabulary,)``.
    """
    width = min(student["embedding/tokens"].shape[1], vectors.shape[1])
    mean, axes = principal_axes(vectors, np.sqrt(counts + 1.0), width)
    tokens = student["embedding/tokens"].copy()
    tokens[:, :width] = (vectors - mean) @ axes
    tokens /= tokens.std()
    return student | {"embedding/tokens": tokens.astype(np.float32)}
