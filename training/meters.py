"""Leaves what a stage used where `account` finds it."""

import json
from dataclasses import asdict

from ledger.meter import Usage, metered
from ledger.places import Places


def leave_meter(places: Places, usage: Usage, **extra: object) -> None:
    """Write ``reports/<app>/meters/<stage>.json``: the usage up to now, and what else is to travel with it.

    Called last in a stage: the meter is an output of the stage, so it must stand before the process ends.
    """
    with metered(usage.stage) as so_far:
        so_far.figures.update(usage.figures)
    path = places.meter(usage.stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(so_far) | extra, indent=2) + "\n", encoding="utf-8")
