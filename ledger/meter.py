"""Measures what a stage uses: wall and CPU seconds, peak memory, bytes written.

The journal stands outside DVC, because seconds differ from run to run and the outputs up to
`audit` must not. The first tracked meter, `teach`'s, carries the journal of the stages before it.
"""

import json
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from ledger.places import Places

# Linux counts ru_maxrss in KiB (getrusage(2)).
RSS_UNIT = 1024


@dataclass
class Usage:
    """What one stage used on one machine.

    Attributes
    ----------
    stage : str
        The stage's name.
    wall_s, cpu_s : float
        Seconds of wall clock, and of CPU over all threads and child processes.
    gpu_s : float
        Seconds a GPU was held; 0 on a machine without one.
    peak_rss_bytes : int
        The largest resident set.
    figures : dict of str to float
        What else the stage measured (rows, steps, seconds a step).
    """

    stage: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    peak_rss_bytes: int = 0
    figures: dict[str, float] = field(default_factory=dict)


def cpu_seconds() -> float:
    """CPU seconds of this process and its finished children, user and system."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@contextmanager
def metered(stage: str) -> Iterator[Usage]:
    """Measure the block; the usage it yields is complete when the block ends.

    CPU seconds count from the process's start, because importing TensorFlow is a cost too.
    """
    usage = Usage(stage)
    try:
        yield usage
    finally:
        usage.wall_s = round(time.time() - psutil.Process().create_time(), 3)
        usage.cpu_s = round(cpu_seconds(), 3)
        usage.peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def write_usage(usage: Usage, path: Path) -> None:
    """Write a usage as JSON; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{threading.get_native_id()}.part")
    part.write_text(json.dumps(asdict(usage), indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def read_usage(path: Path) -> Usage | None:
    """Read a usage, or None where no measurement stands."""
    if not path.exists():
        return None
    return Usage(**json.loads(path.read_text(encoding="utf-8")))


def carry_forward(places: Places, stages: tuple[str, ...]) -> dict[str, dict[str, object] | None]:
    """Collect the journal of earlier stages; None for one that did not run on this machine."""
    usages = {stage: read_usage(places.journal(stage)) for stage in stages}
    return {stage: asdict(usage) if usage else None for stage, usage in usages.items()}
