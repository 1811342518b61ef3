"""Which label model: the one the parameters name, or the best on gold rows that it did not see."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import f1_score, log_loss

from labeling.label_models import Fit, LabelModel, Patterns, calibration_error, fit_calibration, fits
from labeling.label_models.hierarchical import fit_hierarchical

FOLDS = 5
DRAWS = 500
WITHOUT_GOLD = "hierarchical"
"""What ``auto`` takes where nothing can be measured."""
LEARNS_FROM_GOLD = ("hierarchical",)
"""The kinds that are fitted on gold rows too."""


@dataclass(frozen=True)
class Choice:
    """A label model, and what was measured when it was chosen.

    Attributes
    ----------
    model : LabelModel
        Calibrated where there is gold.
    scores : dict of str to float
        Macro-F1 on gold rows of each kind that was fitted, each row predicted without itself; empty without gold.
    calibration : dict
        ``gold_rows``; ``ece_raw``, ``ece`` (calibrated), and the 95 % interval of each. Without gold, only the number, 0.
    """

    model: LabelModel
    scores: dict[str, float]
    calibration: dict[str, object]


def choose(
    train: Patterns,
    gold_matrix: np.ndarray,
    gold: np.ndarray,
    balance: np.ndarray | None,
    kind: str,
    epochs: int,
    seed: int,
) -> Choice:
    """Fit the label model named, or for ``auto`` all, of which the best on gold is taken.

    Every kind is scored on gold rows by cross-validation in five folds: a row's own label is neither in the fit nor in the
    calibration that predicts it. (The class balance, which all share, comes from all gold rows.) Kinds that do not learn from
    gold are fitted once. Ties in macro-F1, at two digits, go to the lower log loss at two digits, then to the simpler kind.

    Parameters
    ----------
    train : Patterns
        The votes on train rows.
    gold_matrix : np.ndarray
        int8 of shape (gold rows, functions).
    gold : np.ndarray
        int8 of shape (gold rows,): their labels.
    balance : np.ndarray or None
        float64 of shape (classes,): the classes' shares; None where they are not known.
    kind : str
        A name of `labeling.label_models.fits`, or ``auto``.
    epochs, seed : int
        Of Snorkel's LabelModel; the seed also draws the folds.
    """
    available = fits(epochs, seed)
    kinds = [kind] if kind != "auto" else [name for name in available if name != "snorkel" or train.functions >= 3]
    if len(gold) == 0:
        name = WITHOUT_GOLD if kind == "auto" else kind
        return Choice(available[name](train, balance), {}, {"gold_rows": 0})
    folds = folds_of(gold, seed)
    measured = {
        name: _measure(name, available[name], train, gold_matrix, gold.astype(np.int64), balance, folds)
        for name in kinds
    }
    best = max(kinds, key=lambda name: _rank(measured[name][1], gold))
    model = _fitted(best, available[best], train, gold_matrix, gold, balance)
    raw, calibrated = measured[best]
    model = with_calibration(model, raw, gold)
    scores = {name: round(macro_f1(found[1], gold), 4) for name, found in measured.items()}
    return Choice(model, scores, calibration_report(raw, calibrated, gold, seed))


def with_calibration(model: LabelModel, raw: np.ndarray, gold: np.ndarray) -> LabelModel:
    """Return the model with the calibration that was fitted on what it says of gold rows."""
    calibration = fit_calibration(raw, gold.astype(np.int64))
    return LabelModel(model.kind, model.balance, model.weights, model.offsets, model.dependence, calibration)


def folds_of(gold: np.ndarray, seed: int) -> np.ndarray:
    """Deal gold rows into five folds, each class in turn, int64 of shape (rows,)."""
    order = np.random.default_rng(seed).permutation(len(gold))
    order = order[np.argsort(gold[order], kind="stable")]
    folds = np.empty(len(gold), dtype=np.int64)
    folds[order] = np.arange(len(gold)) % FOLDS
    return folds


def calibration_report(raw: np.ndarray, calibrated: np.ndarray, gold: np.ndarray, seed: int) -> dict[str, object]:
    """Measure the expected calibration error on gold rows, before and after calibration, with bootstrap intervals."""
    draw = np.random.default_rng(seed)
    samples = [draw.integers(0, len(gold), len(gold)) for _ in range(DRAWS)]
    report: dict[str, object] = {"gold_rows": len(gold), "bins": "equal mass, at most 15, at least 10 rows each"}
    for name, probabilities in (("ece_raw", raw), ("ece", calibrated)):
        drawn = [calibration_error(probabilities[rows], gold[rows]) for rows in samples]
        low, high = np.quantile(drawn, [0.025, 0.975])
        report[name] = round(calibration_error(probabilities, gold), 4)
        report[f"{name}_interval"] = [round(float(low), 4), round(float(high), 4)]
    return report


def _measure(
    kind: str,
    fit: Fit,
    train: Patterns,
    gold_matrix: np.ndarray,
    gold: np.ndarray,
    balance: np.ndarray | None,
    folds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a kind says of each gold row without having seen it, raw and calibrated."""
    raw = np.empty((len(gold), train.classes))
    if kind in LEARNS_FROM_GOLD:
        for fold in np.unique(folds):
            held, seen = folds == fold, folds != fold
            raw[held] = _fitted(kind, fit, train, gold_matrix[seen], gold[seen], balance).predict(gold_matrix[held])
    else:
        raw = fit(train, balance).predict(gold_matrix)
    calibrated = np.empty_like(raw)
    for fold in np.unique(folds):
        held, seen = folds == fold, folds != fold
        calibrated[held] = fit_calibration(raw[seen], gold[seen]).apply(raw[held])
    return raw, calibrated


def _fitted(
    kind: str, fit: Fit, train: Patterns, gold_matrix: np.ndarray, gold: np.ndarray, balance: np.ndarray | None
) -> LabelModel:
    if kind in LEARNS_FROM_GOLD:
        return fit_hierarchical(train, balance, (gold_matrix, gold.astype(np.int64)))
    return fit(train, balance)


def _rank(calibrated: np.ndarray, gold: np.ndarray) -> tuple[float, float]:
    loss = log_loss(gold, calibrated, labels=np.arange(calibrated.shape[1]))
    return round(macro_f1(calibrated, gold), 2), -round(float(loss), 2)


def macro_f1(probabilities: np.ndarray, gold: np.ndarray) -> float:
    """Return the macro-F1 of the most probable classes over all classes, those that gold lacks included."""
    classes = np.arange(probabilities.shape[1])
    return float(f1_score(gold, probabilities.argmax(axis=1), labels=classes, average="macro", zero_division=0.0))
