"""Matrix products that stay on the thread they are called on."""

import numpy as np

ONE_THREAD = 262_144
"""Multiplications of one product up to which every OpenBLAS computes it where it is called (interface/gemm.c; that of NumPy 2.4 up to a
million). Above, it wakes a thread a core whatever a model's ``threads`` says, and waits for them: 0.05 ms on an idle machine, 27 ms
were seen where the other core was taken."""


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``left @ right``, of shapes ``(rows, n)`` and ``(n, m)``, a few rows at a time."""
    step = max(ONE_THREAD // right.size, 1)
    if len(left) <= step:
        return left @ right
    found = np.empty((len(left), right.shape[1]), dtype=np.float32)
    for start in range(0, len(left), step):
        found[start : start + step] = left[start : start + step] @ right
    return found
