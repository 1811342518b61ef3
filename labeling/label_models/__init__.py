"""Label models: from the votes of functions to probabilities of classes.

All are fitted on distinct vote patterns, predict by adding up the weights of a row's votes, and are kept as JSON.
"""

from collections.abc import Callable

import numpy as np

from labeling.label_models.calibration import Calibration, calibration_error, fit_calibration
from labeling.label_models.dawid_skene import fit_dawid_skene
from labeling.label_models.files import read_label_model, write_label_model
from labeling.label_models.hierarchical import fit_hierarchical
from labeling.label_models.majority import fit_majority, fit_weighted_majority
from labeling.label_models.model import LabelModel
from labeling.label_models.patterns import Patterns, collapse
from labeling.label_models.snorkel_model import fit_snorkel
from labeling.label_models.triplet import fit_triplet

__all__ = [
    "Calibration",
    "Fit",
    "LabelModel",
    "Patterns",
    "calibration_error",
    "collapse",
    "fit_calibration",
    "fit_dawid_skene",
    "fit_hierarchical",
    "fit_majority",
    "fit_snorkel",
    "fit_triplet",
    "fit_weighted_majority",
    "fits",
    "read_label_model",
    "write_label_model",
]

Fit = Callable[[Patterns, np.ndarray | None], LabelModel]
"""From patterns and the class balance (None: unknown) to a label model."""


def fits(epochs: int, seed: int) -> dict[str, Fit]:
    """Name every label model's fit, the simplest first: among equals the earlier is chosen.

    Parameters
    ----------
    epochs, seed : int
        Of Snorkel's LabelModel; the others have no steps to choose and draw nothing.
    """
    return {
        "majority": fit_majority,
        "weighted_majority": fit_weighted_majority,
        "triplet": fit_triplet,
        "dawid_skene": fit_dawid_skene,
        "snorkel": lambda patterns, balance: fit_snorkel(patterns, balance, epochs, seed),
        "hierarchical": fit_hierarchical,
    }
