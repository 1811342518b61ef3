"""Leaves what a stage used where `account` finds it."""

import json
import sys
from dataclasses import asdict

from ledger.meter import Usage, metered
from ledger.places import Places


def holds_gpu() -> bool:
    """Whether this process has a GPU: TensorFlow, once loaded, takes the whole of each for as long as it runs."""
    tensorflow = sys.modules.get("tensorflow")
    return bool(tensorflow and tensorflow.config.list_physical_devices("GPU"))


def leave_meter(places: Places, usage: Usage, **extra: object) -> None:
    """Write ``reports/<app>/meters/<stage>.json``: the usage up to now, and what else is to travel with it.

    Called last in a stage: the meter is an output of the stage, so it must stand before the process ends.
    """
    with metered(usage.stage) as so_far:
        so_far.figures.update(usage.figures)
    so_far.gpu_s = so_far.wall_s if holds_gpu() else 0.0
    path = places.meter(usage.stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(so_far) | extra, indent=2) + "\n", encoding="utf-8")
