"""What the processor's package has drawn, where Linux tells it (RAPL). Nothing is estimated.

Without counters, an estimate is the rated power times the seconds (codecarbon's way): the latency over again, in another unit.
"""

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
WHY_NOT = "this machine shows no energy counter (/sys/class/powercap/intel-rapl:*/energy_uj), and none is estimated"


def read_joules(folder: Path = POWERCAP) -> dict[Path, float] | None:
    """Return each package's counter in joules; None where there is none, or it may not be read."""
    # A package is intel-rapl:0; its parts (intel-rapl:0:1) are in it already. AMD's counters have the same names.
    counters = [path / "energy_uj" for path in sorted(folder.glob("intel-rapl:*")) if path.name.count(":") == 1]
    try:
        return {path: int(path.read_text(encoding="ascii")) / 1e6 for path in counters} or None
    except (OSError, ValueError):
        return None


def joules_since(before: dict[Path, float] | None) -> float | None:
    """Return the joules drawn since the counters stood at ``before``; None where they are not told or have started over."""
    if before is None:
        return None
    now = {path: _joules(path) for path in before}
    drawn = [value - before[path] for path, value in now.items() if value is not None]
    return sum(drawn) if len(drawn) == len(before) and min(drawn) >= 0 else None


def _joules(path: Path) -> float | None:
    try:
        return int(path.read_text(encoding="ascii")) / 1e6
    except (OSError, ValueError):
        return None
