"""Writes one network in any format and precision, within the accuracy budget."""

import logging
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np

from training.litert_format import litert_bytes
from training.onnx_format import onnx_bytes
from training.quantization import Plan, Precision, uniform
from training.quantize_budget import Fitted, fit
from training.quantize_probe import Probe, answer, open_model, probe, ranges
from training.shape import Shape

logger = logging.getLogger(__name__)

Format = Literal["litert", "onnx"]
Weights = dict[str, np.ndarray]

JUDGED = 1000
"""Texts at most that a quantized network is judged on: of fewer, one changed answer is most of a budget."""

RECOVERED_ON = 2000
"""Texts at most that a network is trained on again, so that recovery takes seconds, whatever the corpus."""


@dataclass(frozen=True)
class Texts:
    """What a network is judged, calibrated and recovered on, as its tokenizer's ids.

    Attributes
    ----------
    judged : list of np.ndarray
        Of the gold sample, then of rows that may be learned from.
    truth : np.ndarray or None
        The labels of the gold sample, the first of ``judged``; None without one.
    learned : list of np.ndarray
        Of the rows that may be learned from.
    """

    judged: list[np.ndarray]
    truth: np.ndarray | None
    learned: list[np.ndarray]


@dataclass(frozen=True)
class Limits:
    """How far quantization may go.

    Attributes
    ----------
    budget : float
        The share of texts that may be answered otherwise, or the macro-F1 on the gold sample that may be lost.
    calibration : int
        Texts whose activations set the ranges of ``int8_static``.
    reduce_range : bool
        As in `onnx_bytes`.
    recovery_epochs : int
        Of training under the rounding, where the budget is missed; 0 trains nothing.
    recovery_learning_rate : float
        Of that training.
    seed : int
        Of that training.
    """

    budget: float
    calibration: int
    reduce_range: bool
    recovery_epochs: int
    recovery_learning_rate: float
    seed: int


class Quantizer:
    """Writes one network; what several formats and precisions need is made once, and only if one needs it.

    Parameters
    ----------
    shape, weights
        The network.
    texts : Texts
        To judge, calibrate and recover on.
    limits : Limits
        How far to go.
    """

    def __init__(self, shape: Shape, weights: Weights, texts: Texts, limits: Limits) -> None:
        self.shape, self.weights, self.texts, self.limits = shape, weights, texts, limits
        self._recovered = cache(self._recover)

    def content(self, format_: Format, precision: Precision) -> tuple[bytes, Fitted]:
        """Return the model file's bytes, and the plan that it was written by.

        First every layer gets the precision. Where that loses too much, layers are put back (`fit`), once of the network
        as it is, and once of the network trained under the rounding; the smaller file of the two is taken, if its
        network keeps to the budget.
        """
        if precision == "float32":
            plan = uniform(self.shape, precision)
            return self._bytes(format_, self.weights, plan), Fitted(plan, 0.0, {})
        plain = self._fitted(format_, precision, self.weights)
        if not self.limits.recovery_epochs or not plain[1].put_back:
            return plain
        trained = self._fitted(format_, precision, self._recovered(precision))
        kept = trained[1].lost <= self.limits.budget and len(trained[0]) < len(plain[0])
        sizes = (len(trained[0]) / 1e6, len(plain[0]) / 1e6, "it" if kept else "what was not trained")
        logger.info(
            "%s in %s: %.2f MB trained under the rounding, %.2f MB not; %s is taken", precision, format_, *sizes
        )
        return trained if kept else plain

    def _fitted(self, format_: Format, precision: Precision, weights: Weights) -> tuple[bytes, Fitted]:
        def answers(plan: Plan) -> np.ndarray:
            return self._answer(format_, weights, plan)

        fitted = fit(self.shape, precision, self.limits.budget, answers, self._probe)
        return self._bytes(format_, weights, fitted.plan), fitted

    @cached_property
    def _probe(self) -> Probe:
        return probe(self.shape, self.weights, self.texts.judged, self.texts.truth)

    @cached_property
    def _ranges(self) -> dict[str, tuple[float, float]]:
        return ranges(self.shape, self.weights, spread(self.texts.learned, self.limits.calibration))

    def _recover(self, precision: Precision) -> Weights:
        from training.quantize_training import recover  # TensorFlow, only where it is needed

        learned = spread(self.texts.learned, RECOVERED_ON)
        logits = probe(self.shape, self.weights, learned, None).logits
        plan, limits = uniform(self.shape, precision), self.limits
        return recover(
            self.shape,
            self.weights,
            plan,
            learned,
            logits,
            limits.recovery_epochs,
            limits.recovery_learning_rate,
            limits.seed,
            self._ranges if precision == "int8_static" else None,
        )

    def _answer(self, format_: Format, weights: Weights, plan: Plan) -> np.ndarray:
        return answer(open_model(format_, self._bytes(format_, weights, plan)), self._probe.sequences)

    def _bytes(self, format_: Format, weights: Weights, plan: Plan) -> bytes:
        known = self._ranges if "int8_static" in plan.values() else None
        if format_ == "litert":
            return litert_bytes(self.shape, weights, plan, known)
        return onnx_bytes(self.shape, weights, plan, known, self.limits.reduce_range)


def spread(texts: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Return at most ``count`` of the texts, evenly spread over them."""
    rows = np.linspace(0, len(texts) - 1, min(count, len(texts))).round().astype(int)
    return [texts[row] for row in rows]
