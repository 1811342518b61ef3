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
        Of the gold sample; without one, of train rows.
    truth : np.ndarray or None
        The labels of the gold sample, one for each of ``judged``.
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
        Macro-F1 on the gold sample that may be lost; without one, the share of texts that may be answered otherwise.
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

        First every layer gets the precision. Where that loses too much, the network is trained under the rounding; what
        it then still loses is bought back layer by layer (`fit`).
        """
        if precision == "float32":
            plan = uniform(self.shape, precision)
            return self._bytes(format_, self.weights, plan), Fitted(plan, 0.0, {})
        weights = self.weights
        if self.limits.recovery_epochs:
            plain = self._answer(format_, weights, uniform(self.shape, precision))
            if self._probe.lost(plain) > self.limits.budget:
                weights = self._better(format_, precision, plain)
        fitted = fit(
            self.shape, precision, self.limits.budget, lambda plan: self._answer(format_, weights, plan), self._probe
        )
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

    def _better(self, format_: Format, precision: Precision, plain: np.ndarray) -> Weights:
        """Return the weights trained under the rounding, where their answers are nearer to the float network's."""
        trained = self._recovered(precision)
        answers = self._answer(format_, trained, uniform(self.shape, precision))
        before, after = self._probe.divergence(plain), self._probe.divergence(answers)
        lost = self._probe.lost(plain), self._probe.lost(answers)
        logger.info(
            "%s in %s, trained under the rounding: %.4f lost of %.4f before", precision, format_, lost[1], lost[0]
        )
        logger.info("divergence from the float answers %.5f, before %.5f", after, before)
        return trained if after < before else self.weights

    def _answer(self, format_: Format, weights: Weights, plan: Plan) -> np.ndarray:
        return answer(open_model(format_, self._bytes(format_, weights, plan)), self._probe.sequences)

    def _bytes(self, format_: Format, weights: Weights, plan: Plan) -> bytes:
        known = self._ranges if "int8_static" in plan.values() else None
        if format_ == "litert":
            return litert_bytes(self.shape, weights, plan, known)
        return onnx_bytes(self.shape, weights, plan, known, self.limits.reduce_range)


def spread(texts: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Return at most ``count`` of the texts, evenly spread over them."""
    return [texts[row] for row in np.linspace(0, len(texts) - 1, min(count, len(texts))).round().astype(int)]
