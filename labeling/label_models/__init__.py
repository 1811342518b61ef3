"""Label models: from the votes of functions to probabilities of classes.

Every model here ends as one table, P(vote | class) for each function, and the class balance; so they
predict by one formula, are kept as JSON, and run on distinct vote patterns rather than on rows.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labeling.functions import ABSTAIN
from labeling.label_models.patterns import collapse
from ledger.errors import DataError

logger = logging.getLogger(__name__)

SMOOTHING = 0.1
EM_ROUNDS = 200
EM_TOLERANCE = 1e-6
FLOOR = 1e-6


@dataclass(frozen=True)
class LabelModel:
    """A fitted label model.

    Attributes
    ----------
    kind : str
        ``majority``, ``dawid_skene`` or ``snorkel``.
    balance : np.ndarray
        float64 of shape (classes,): the classes' shares.
    conditionals : np.ndarray
        float64 of shape (functions, classes, classes): ``[j, v, y]`` is P(function j votes v | class y); a column sums to less
        than 1 by what the function abstains.
    """

    kind: str
    balance: np.ndarray
    conditionals: np.ndarray

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the probability of each class for each row of votes.

        As Snorkel's LabelModel does, a vote multiplies the odds by its likelihood and an abstention says nothing;
        rows without a vote get the class balance.

        Parameters
        ----------
        matrix : np.ndarray
            int8 of shape (rows, functions), ABSTAIN for none.

        Returns
        -------
        np.ndarray
            float64 of shape (rows, classes); rows sum to 1.
        """
        patterns, inverse = np.unique(matrix, axis=0, return_inverse=True)
        return self._predict_patterns(patterns)[inverse.reshape(-1)]

    def _predict_patterns(self, patterns: np.ndarray) -> np.ndarray:
        if self.kind == "majority":
            counts = vote_counts(patterns, len(self.balance))
            # Ties share alike: a tie is not evidence for the class that comes first.
            top = (counts == counts.max(axis=1, keepdims=True)) * (counts > 0)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            return np.where(top.any(axis=1, keepdims=True), shares, self.balance)
        return posterior(patterns, self.balance, self.conditionals)


def vote_counts(patterns: np.ndarray, classes: int) -> np.ndarray:
    """Count the votes for each class, float64 of shape (patterns, classes)."""
    return np.stack([(patterns == label).sum(axis=1) for label in range(classes)], axis=1).astype(np.float64)


def posterior(patterns: np.ndarray, balance: np.ndarray, conditionals: np.ndarray) -> np.ndarray:
    """Return P(class | votes), float64 of shape (patterns, classes), votes independent given the class."""
    scores = np.tile(np.log(np.maximum(balance, FLOOR)), (len(patterns), 1))
    log_table = np.log(np.maximum(conditionals, FLOOR))
    for j in range(patterns.shape[1]):
        voted = patterns[:, j] != ABSTAIN
        scores[voted] += log_table[j, patterns[voted, j]]
    scores -= scores.max(axis=1, keepdims=True)
    likelihood = np.exp(scores)
    return likelihood / likelihood.sum(axis=1, keepdims=True)


def conditionals_under(patterns: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Estimate P(vote | class) from patterns and the weight of each in each class.

    Parameters
    ----------
    patterns : np.ndarray
        int8 of shape (patterns, functions).
    weights : np.ndarray
        float64 of shape (patterns, classes): rows of the pattern times its probability of the class.

    Returns
    -------
    np.ndarray
        float64 of shape (functions, classes, classes), smoothed.
    """
    totals = weights.sum(axis=0) + SMOOTHING * (classes + 1)
    table = np.stack([(patterns == vote).T @ weights for vote in range(classes)], axis=1)
    return (table + SMOOTHING) / totals


def fit_majority(matrix: np.ndarray, balance: np.ndarray) -> LabelModel:
    """Fit nothing: each vote counts the same; the table only serves the functions' report."""
    patterns, counts = np.unique(matrix, axis=0, return_counts=True)
    shares = LabelModel("majority", balance, np.zeros(0)).predict(patterns)
    return LabelModel("majority", balance, conditionals_under(patterns, shares * counts[:, None], len(balance)))


def fit_dawid_skene(matrix: np.ndarray, balance: np.ndarray) -> LabelModel:
    """Fit one confusion table a function by EM, from the majority's start.

    Dawid and Skene (1979), sections 2 and 3, on distinct patterns with their counts. The class balance is held, because with
    functions that vote for one class only, EM would otherwise give every row to the class that votes most.
    """
    patterns, counts = np.unique(matrix, axis=0, return_counts=True)
    voted = (patterns != ABSTAIN).any(axis=1)
    patterns, counts = patterns[voted], counts[voted].astype(np.float64)
    shares = LabelModel("majority", balance, np.zeros(0)).predict(patterns)
    table = conditionals_under(patterns, shares * counts[:, None], len(balance))
    for _ in range(EM_ROUNDS):
        updated_shares = posterior(patterns, balance, table)
        moved = np.abs(updated_shares - shares).max(initial=0.0)
        shares = updated_shares
        table = conditionals_under(patterns, shares * counts[:, None], len(balance))
        if moved < EM_TOLERANCE:
            break
    return LabelModel("dawid_skene", balance, table)


def fit_snorkel(matrix: np.ndarray, balance: np.ndarray, epochs: int, seed: int) -> LabelModel:
    """Fit Snorkel's LabelModel (Ratner et al. 2019, matrix completion) and keep its table.

    Raises
    ------
    DataError
        With fewer than three functions, which Snorkel's model needs.
    """
    if matrix.shape[1] < 3:
        raise DataError(
            "Snorkel's label model needs at least 3 labeling functions; add some, or set label.model to majority"
        )
    from labeling.label_models.snorkel_model import snorkel_table

    return LabelModel("snorkel", balance, snorkel_table(collapse(matrix, len(balance)), balance, epochs, seed))


Fit = Callable[[np.ndarray, np.ndarray], LabelModel]


def fits(epochs: int, seed: int) -> dict[str, Fit]:
    """Name every label model's fit, the simplest first: among equals the earlier is chosen."""
    return {
        "majority": fit_majority,
        "dawid_skene": fit_dawid_skene,
        "snorkel": lambda matrix, balance: fit_snorkel(matrix, balance, epochs, seed),
    }


def write_label_model(model: LabelModel, path: Path) -> None:
    """Write a label model as JSON."""
    document = {
        "kind": model.kind,
        "balance": model.balance.round(6).tolist(),
        "conditionals": model.conditionals.round(6).tolist(),
    }
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


def read_label_model(path: Path) -> LabelModel:
    """Read a label model, or raise a DataError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return LabelModel(document["kind"], np.array(document["balance"]), np.array(document["conditionals"]))
    except FileNotFoundError:
        raise DataError(f"{path}: not found; run the stage 'label' first") from None
    except (json.JSONDecodeError, KeyError) as error:
        raise DataError(f"{path}: expected a label model as `label` writes it: {error}; run the stage again") from None
