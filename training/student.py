"""The student before training: cut out of its teacher, or fresh layers over the teacher's embeddings."""

from dataclasses import replace

import numpy as np

from training.importance import keep_layers, measure_importance, reorder
from training.model_files import Model
from training.shape import Shape, Size, slice_weights

MEASURED_TEXTS = 512
"""Texts by which importance is measured; its order is stable from a few hundred on."""


def cut_student(
    teacher: Model,
    kept: np.ndarray,
    layers: tuple[int, ...],
    size: Size,
    sequences: list[np.ndarray],
    targets: np.ndarray,
) -> tuple[Shape, dict[str, np.ndarray]]:
    """Cut a student out of the teacher: some layers, of each the heads and neurons that matter most, and the tokens in use.

    Importance is measured in the shortened network, as what a layer is good for depends on those that follow.

    Parameters
    ----------
    teacher : Model
        Fine-tuned.
    kept : np.ndarray
        The token ids in use, int64, ascending.
    layers : tuple of int
        The layers that are kept, counted from 0.
    size : Size
        The full-size student's; its depth is the number of layers.
    sequences, targets : list of np.ndarray, np.ndarray
        Train texts as the teacher's token ids, and the teacher's probabilities for them.

    Raises
    ------
    ValueError
        If the size is not a part of the teacher.
    """
    shortened = keep_layers(teacher, layers)
    rows = np.linspace(0, len(sequences) - 1, min(MEASURED_TEXTS, len(sequences))).astype(int)
    importance = measure_importance(shortened, [sequences[row] for row in rows], targets[rows])
    ordered = reorder(shortened.shape, shortened.weights, importance)
    ordered["embedding/tokens"] = ordered["embedding/tokens"][kept]
    ordered["embedding/positions"] = ordered["embedding/positions"][: teacher.max_length]
    whole = replace(shortened.shape, vocabulary=len(kept), positions=teacher.max_length)
    part = whole.slice(size)
    return part, slice_weights(ordered, part)


def fresh_shape(teacher: Model, vocabulary: int, size: Size, dropout: float) -> Shape:
    """Return the shape of a student of fresh layers: ReLU for its speed on a CPU, heads that fill the width.

    Raises
    ------
    ValueError
        If the width is no multiple of the heads.
    """
    if size.width % size.heads:
        raise ValueError(f"width={size.width} must be a multiple of heads={size.heads}")
    return replace(
        teacher.shape.slice(replace(size, depth=1, width=1, heads=1, feedforward=1)),
        vocabulary=vocabulary,
        positions=teacher.max_length,
        width=size.width,
        depth=size.depth,
        heads=size.heads,
        head_width=size.width // size.heads,
        feedforward=size.feedforward,
        activation="relu",
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
