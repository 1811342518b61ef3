"""Puts layers back to more bits, the most harmful first, until a network loses no more than it may."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from training.quantization import STEP_BACK, Plan, Precision, layers, uniform
from training.quantize_probe import Probe
from training.shape import Shape

logger = logging.getLogger(__name__)

Answer = Callable[[Plan], np.ndarray]
"""The logits of the probe's texts under a plan, float32 of shape ``(texts, classes)``."""


@dataclass(frozen=True)
class Fitted:
    """A plan that keeps to the budget, or comes as near as it can.

    Attributes
    ----------
    plan : dict of str to str
        The precision of each layer.
    lost : float
        What the network then loses, as `Probe.lost` counts it.
    put_back : dict of str to str
        The layers that do not have the precision asked for, with what they have; empty where it held at once.
    """

    plan: dict[str, Precision]
    lost: float
    put_back: dict[str, Precision]


def fit(shape: Shape, precision: Precision, budget: float, answer: Answer, probe: Probe) -> Fitted:
    """Find the plan.

    Where the network quantized throughout keeps to the budget, that is all that is measured. Else each layer is
    quantized alone to see what it does to the answers (HAWQ's order by measured sensitivity, Dong et al. 2019,
    https://arxiv.org/abs/1905.03696, section 3, here measured on the answers themselves), and the most harmful one
    goes a step back (`STEP_BACK`) until the budget holds. At most two steps a layer; the same input gives the same plan.

    Parameters
    ----------
    shape : Shape
        The network.
    precision : str
        What every layer is to have.
    budget : float
        What may be lost, at least 0.
    answer : Answer
        Runs the network under a plan.
    probe : Probe
        The texts, with the float network's answers.
    """
    plan = uniform(shape, precision)
    asked = dict(plan)
    lost = probe.lost(answer(plan))
    if lost <= budget:
        return Fitted(plan, lost, {})

    @cache
    def harm(layer: str, bits: Precision) -> float:
        return probe.divergence(answer(uniform(shape, "float32") | {layer: bits}))

    while lost > budget and any(bits != "float32" for bits in plan.values()):
        open_to = [layer for layer in layers(shape) if plan[layer] != "float32"]
        worst = max(open_to, key=lambda layer: harm(layer, plan[layer]))  # the first among equals
        bits = STEP_BACK[plan[worst]]
        logger.info("%s of %s put back to %s: %.4f lost of %.4f", worst, precision, bits, lost, budget)
        plan[worst] = bits
        lost = probe.lost(answer(plan))
    return Fitted(plan, lost, {layer: bits for layer, bits in plan.items() if bits != asked[layer]})
