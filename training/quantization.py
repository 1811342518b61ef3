"""Numbers of few bits for weights: how they are rounded, and which layer gets which. NumPy alone."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from training.shape import Shape

Precision = Literal["float32", "int8", "int8_static", "int4"]

Plan = Mapping[str, Precision]
"""The precision of each layer that `layers` names."""

Ranges = Mapping[str, tuple[float, float]]
"""The least and the greatest value seen at a layer's input (``<layer>/in``) and output (``<layer>/out``)."""

EMBEDDING, HEAD = "embedding", "head"

STEP_BACK: dict[Precision, Precision] = {"int4": "int8", "int8_static": "int8", "int8": "float32"}
"""What a layer that loses too much gets instead: more bits, or a range for each text, then float."""

BLOCK = 16
"""Columns of a table that share a scale in int4; the block is what holds its error down (Dettmers and Zettlemoyer
2023, https://arxiv.org/abs/2212.09720, section 5)."""

CUTS = np.linspace(1.0, 0.5, 11)
"""Shares of the greatest weight at which int4 may cut; the first among equals."""


def layers(shape: Shape) -> list[str]:
    """Return the names of what is quantized as one, in the order of the network.

    ``embedding`` stands for both tables, ``block_0/attention/input`` for query, key and value, which are one product.
    """
    blocks = [
        f"block_{number}/{part}"
        for number in range(shape.depth)
        for part in ("attention/input", "attention/output", "expand", "contract")
    ]
    return [EMBEDDING, *blocks, HEAD]


def uniform(shape: Shape, precision: Precision) -> dict[str, Precision]:
    """Return the plan that gives every layer one precision; of ``int4`` the head has ``int8``.

    The head is a hundredth of the bytes, and its errors are the answer's: in 4 bits it did a tenth of all the harm.
    """
    plan = dict.fromkeys(layers(shape), precision)
    return plan if precision != "int4" else plan | {HEAD: "int8"}


def kernel_and_bias(shape: Shape, weights: Mapping[str, np.ndarray], layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a dense layer's kernel ``(inputs, units)`` and bias ``(units,)``.

    Query, key and value stand side by side, so that their input is rounded once; what the scores are to be divided by
    is taken into the query.
    """
    if not layer.endswith("/attention/input"):
        return weights[f"{layer}/kernel"], weights[f"{layer}/bias"]
    names = [layer.removesuffix("input") + part for part in ("query", "key", "value")]
    kernels, biases = ([weights[f"{name}/{kind}"] for name in names] for kind in ("kernel", "bias"))
    scale = np.float32(1 / math.sqrt(head_width(shape, weights, layer)))
    return (
        np.concatenate([kernels[0] * scale, *kernels[1:]], axis=1),
        np.concatenate([biases[0] * scale, *biases[1:]]),
    )


def head_width(shape: Shape, weights: Mapping[str, np.ndarray], layer: str) -> int:
    """Return the dimensions of each head of an attention."""
    return int(weights[f"{layer.removesuffix('input')}query/kernel"].shape[1] // shape.heads)


def counted_places(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the table of positions with its first row twice: a count of tokens, from 1, is then the row's number."""
    places = weights["embedding/positions"]
    return np.concatenate([places[:1], places])


def of_positions(precision: Precision) -> Precision:
    """Return what the table of positions has where the table of tokens has ``precision``: it is too small for int4."""
    return "int8" if precision == "int4" else precision


def to_int8(rows: np.ndarray, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Round each row to whole numbers around zero, by a scale of its own.

    Parameters
    ----------
    rows : np.ndarray
        Float32 of shape ``(n, m)``: an output channel, or a token, a row.
    bits : int
        At most 8; ``2 ** (bits - 1) - 1`` is the greatest number given.

    Returns
    -------
    whole : np.ndarray
        Int8 of shape ``(n, m)``.
    scales : np.ndarray
        Float32 of shape ``(n,)``; ``whole * scales[:, None]`` is within half a scale of ``rows``.
    """
    greatest = 2 ** (bits - 1) - 1
    scales = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny * 2**10) / np.float32(greatest)
    whole = np.clip(np.rint(rows / scales[:, None]), -greatest, greatest)
    return whole.astype(np.int8), scales.astype(np.float32)


def to_int4(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round each row to 15 levels around zero, by the scale that loses least of it.

    The greatest weight is cut where that lets the others be told apart (Banner et al. 2019,
    https://arxiv.org/abs/1810.05723, section 2): of the scales tried, the one with the least squared error.

    Returns
    -------
    whole : np.ndarray
        Int8 from -7 to 7, of shape ``(n, m)``.
    scales : np.ndarray
        Float32 of shape ``(n,)``.
    """
    _, widest = to_int8(rows, bits=4)
    best, whole, scales = np.full(len(rows), np.inf), np.zeros(rows.shape, np.int8), widest.copy()
    for cut in CUTS:
        scale = widest * np.float32(cut)
        tried = np.clip(np.rint(rows / scale[:, None]), -7, 7)
        lost = np.square(tried * scale[:, None] - rows).sum(axis=1)
        better = lost < best
        best[better], scales[better], whole[better] = lost[better], scale[better], tried[better].astype(np.int8)
    return whole, scales


def to_int4_blocks(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Round each block of each row to 15 levels around zero, by a scale of its own that is itself a whole number.

    Scales in 8 bits over one unit (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314, section 3, double
    quantization): with blocks of 16 columns, 4.5 bits a weight in all.

    Returns
    -------
    whole : np.ndarray
        Int8 from -7 to 7, of shape ``(n, m)``.
    scales : np.ndarray
        Int8 from 1 to 127, of shape ``(n, blocks)``.
    unit : np.float32
        ``whole * scales * unit``, a block's scale for each of its columns, is near ``rows``.
    """
    n, m = rows.shape
    blocks = in_blocks(rows)
    _, exact = to_int4(blocks)
    unit = np.float32(exact.max() / 127)
    scales = np.clip(np.rint(exact / unit), 1, 127).astype(np.int8)
    whole = np.clip(np.rint(blocks / (scales * unit)[:, None]), -7, 7).astype(np.int8)
    return whole.reshape(n, -1)[:, :m], scales.reshape(n, -1), unit


def in_blocks(rows: np.ndarray) -> np.ndarray:
    """Cut rows ``(n, m)`` into blocks, a row each, zeros behind."""
    padded = np.zeros((len(rows), -(-rows.shape[1] // BLOCK) * BLOCK), dtype=np.float32)
    padded[:, : rows.shape[1]] = rows
    return padded.reshape(-1, BLOCK)


def block_spread(columns: int, unit: np.float32) -> np.ndarray:
    """Return the matrix, float32 ``(blocks, columns)``, that turns the scales of blocks into those of their columns."""
    blocks = np.arange(-(-columns // BLOCK))[:, None]
    return (blocks == np.arange(columns) // BLOCK).astype(np.float32) * unit


def nibbles(whole: np.ndarray) -> np.ndarray:
    """Pack int4 in pairs, in C order, the first in the low half, as uint8 of shape ``(half,)``; both runtimes read it."""
    whole = np.pad(whole.reshape(-1), (0, whole.size % 2))
    low, high = whole[..., 0::2].astype(np.uint8) & 0x0F, whole[..., 1::2].astype(np.uint8) & 0x0F
    return (low | high << 4).astype(np.uint8)


def activation_scale(low: float, high: float) -> tuple[np.float32, int]:
    """Return scale and zero point (-128 to 127) of int8 activations between two values, zero among them.

    Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 2.1: zero has to be exact.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max(high - low, 1e-8) / 255)
    return scale, int(np.clip(round(-128 - low / float(scale)), -128, 127))
