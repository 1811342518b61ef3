"""The learning rate over a run: a linear rise, then a linear fall to nothing."""

from typing import Any

import keras
from keras import ops


class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up and decay (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, appendix A.2).

    Parameters
    ----------
    peak : float
        The highest learning rate.
    steps : int
        Of the whole run.
    warmup : float
        The share of the steps that rise.
    """

    def __init__(self, peak: float, steps: int, warmup: float) -> None:
        self.peak, self.steps, self.warmup = peak, steps, warmup

    def __call__(self, step: Any) -> Any:
        """Return the rate at a step, counted from 0."""
        step = ops.cast(step, "float32") + 1.0
        rising = max(self.warmup * self.steps, 1.0)
        fall = (self.steps + 1.0 - step) / max(self.steps + 1.0 - rising, 1.0)
        return self.peak * ops.clip(ops.minimum(step / rising, fall), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the schedule."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}


def adamw(peak: float, steps: int, warmup: float, weight_decay: float) -> keras.optimizers.AdamW:
    """Return AdamW under the schedule; biases and normalizations do not decay."""
    optimizer = keras.optimizers.AdamW(WarmupLinearDecay(peak, steps, warmup), weight_decay=weight_decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
