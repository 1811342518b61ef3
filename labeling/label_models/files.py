"""A label model's file: JSON, so that loading one runs no code."""

import json
from pathlib import Path

import numpy as np

from labeling.label_models.calibration import Calibration
from labeling.label_models.model import LabelModel
from ledger.errors import DataError


def write_label_model(model: LabelModel, path: Path) -> None:
    """Write a label model as JSON; of the weights only those of votes that were ever given."""
    given = np.abs(model.weights).sum(axis=2) > 0
    function, vote = np.nonzero(given)
    document = {
        "kind": model.kind,
        "balance": model.balance.round(6).tolist(),
        "offsets": None if model.offsets is None else model.offsets.round(6).tolist(),
        "dependence": round(model.dependence, 6),
        "functions": model.functions,
        "weights": [
            [int(j), int(v), *map(float, model.weights[j, v].round(5))] for j, v in zip(function, vote, strict=True)
        ],
        "calibration": None
        if model.calibration is None
        else {"scale": round(model.calibration.scale, 6), "shift": model.calibration.shift.round(6).tolist()},
    }
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


def read_label_model(path: Path) -> LabelModel:
    """Read a label model, or raise a DataError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        balance = np.array(document["balance"], dtype=np.float64)
        weights = np.zeros((document["functions"], len(balance), len(balance)))
        for function, vote, *scores in document["weights"]:
            weights[function, vote] = scores
        offsets, calibration = document["offsets"], document["calibration"]
        return LabelModel(
            document["kind"],
            balance,
            weights,
            None if offsets is None else np.array(offsets),
            document["dependence"],
            None if calibration is None else Calibration(calibration["scale"], np.array(calibration["shift"])),
        )
    except FileNotFoundError:
        raise DataError(f"{path}: not found; run the stage 'label' first") from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: expected a label model as `label` writes it: {error}; run the stage again") from None
