"""Runs a stage's work as a process: arguments, log, meter and exit code, the same for all."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from ledger.errors import PricecutError
from ledger.meter import metered, write_usage
from ledger.places import Places

logger = logging.getLogger(__name__)

Work = Callable[..., None]


def run_stage(stage: str, work: Work, *arguments: str) -> None:
    """Run one stage for the app named on the command line, and exit.

    Parameters
    ----------
    stage : str
        The stage's name in ``dvc.yaml``.
    work : callable
        Takes the app's places, the usage to which it may add figures, and the further arguments.
    *arguments : str
        The names of what the command line holds after the app.

    Notes
    -----
    Exits with 0, or with a PricecutError's own code (2) after printing its message without a traceback.
    Any other exception is a defect of pricecut and keeps its traceback.
    """
    logging.basicConfig(level=logging.INFO, format=f"{stage}: %(message)s", stream=sys.stderr)
    expected = ("APP", *arguments)
    if len(sys.argv) != 1 + len(expected):
        sys.stderr.write(f"{stage}: expected the arguments {' '.join(expected)}, got {sys.argv[1:]}\n")
        sys.exit(2)
    places = Places(sys.argv[1], Path())
    try:
        with metered(stage) as usage:
            work(places, usage, *sys.argv[2:])
    except PricecutError as error:
        sys.stderr.write(f"{stage} {places.app}: {error}\n")
        sys.exit(error.exit_code)
    write_usage(usage, places.journal(stage))
    logger.info("%s done in %.1f s (%.1f CPU s)", places.app, usage.wall_s, usage.cpu_s)
