"""A fitted label model: what each vote adds to the score of each class, and how scores become probabilities."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from labeling.label_models.calibration import Calibration
from labeling.label_models.patterns import CHUNK, Patterns, in_threads, one_hot
from labeling.label_models.softmax import softmax
from ledger.errors import DataError

SHARES = "majority"
"""The kind whose scores are shares of votes; those of all others are log odds."""


@dataclass(frozen=True)
class LabelModel:
    """A label model that predicts by adding up the weights of a row's votes.

    Attributes
    ----------
    kind : str
        A name of `labeling.label_models.fits`.
    balance : np.ndarray
        float64 of shape (classes,): the classes' shares; what a row without a vote gets.
    weights : np.ndarray
        float64 of shape (functions, classes, classes): ``[j, v, y]`` is what a vote v of function j adds to the score of class y.
    offsets : np.ndarray or None
        float64 of shape (classes,): the score before any vote; None for the log of the balance.
    dependence : float
        0 to 1. With n votes on a row, the log odds are divided by ``1 + dependence * (n - 1)``, the design effect of votes that
        err together (Kish 1965, section 8.2): at 0 the n count in full, at 1 as one. The most probable class stays the same.
    calibration : Calibration or None
        What was fitted on gold rows; None where there were none.
    """

    kind: str
    balance: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray | None = None
    dependence: float = 0.0
    calibration: Calibration | None = None

    @property
    def functions(self) -> int:
        """How many functions it was fitted on."""
        return len(self.weights)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.balance)

    def predict(self, matrix: np.ndarray, calibrated: bool = True) -> np.ndarray:
        """Return the probability of each class for each row of votes.

        Parameters
        ----------
        matrix : np.ndarray
            int8 of shape (rows, functions), ABSTAIN for none.
        calibrated : bool
            False leaves the calibration out.

        Returns
        -------
        np.ndarray
            float64 of shape (rows, classes); rows sum to 1, those without a vote are the class balance.

        Raises
        ------
        DataError
            If the matrix has other functions or classes than those the model was fitted on.
        """
        if matrix.shape[1] != self.functions or (matrix.size and int(matrix.max()) >= self.classes):
            raise DataError(
                f"the label model was fitted on {self.functions} functions and {self.classes} classes; expected votes of these, "
                f"not of {matrix.shape[1]} functions with votes up to {matrix.max(initial=-1)}; run `label` again"
            )
        found = np.empty((len(matrix), self.classes))
        for start in range(0, len(matrix), CHUNK):
            hot = one_hot(matrix[start : start + CHUNK], self.classes)
            found[start : start + CHUNK] = self._probabilities(hot, calibrated)
        return found

    def predict_patterns(self, patterns: Patterns, calibrated: bool = True) -> np.ndarray:
        """Return what `predict` does for each distinct pattern, float64 of shape (patterns, classes)."""
        found = np.empty((patterns.height, self.classes))
        hot = patterns.one_hot

        def fill(start: int) -> None:
            found[start : start + CHUNK] = self._probabilities(hot[start : start + CHUNK], calibrated)

        in_threads(fill, range(0, patterns.height, CHUNK))
        return found

    def _probabilities(self, hot: csr_matrix, calibrated: bool) -> np.ndarray:
        votes = np.diff(hot.indptr)[:, None]
        scores = hot @ self.weights.reshape(self.functions * self.classes, self.classes)
        if self.kind == SHARES:
            total = scores.sum(axis=1, keepdims=True)
            # Ties share alike: a tie is not evidence for the class that comes first.
            probabilities = scores / np.where(total > 0, total, 1.0)
        else:
            scores += np.log(self.balance) if self.offsets is None else self.offsets
            if self.dependence:
                scores /= 1 + self.dependence * np.maximum(votes - 1, 0)
            probabilities = softmax(scores)
        if calibrated and self.calibration is not None:
            probabilities = self.calibration.apply(probabilities)
        return np.where(votes > 0, probabilities, self.balance)
