"""The processes of a run: which part each plays, and killing some of them at once."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

WEIGHTS = {"flow": 22, "supervisor": 18, "stage": 16, "child": 10, "server": 10, "group": 6, "machine": 18}
"""How often each is to be killed; where there is none at that moment, another one is."""
ORDER = ("stage", "child", "supervisor", "flow", "server")


@dataclass(frozen=True)
class Killed:
    """What was killed.

    Attributes
    ----------
    part : str
        ``flow``; ``supervisor``, ``stage`` or ``child`` (of a stage); ``server``; ``group``: the flow's process group, as a closed terminal
        ends it; ``machine``: every process of the run at once, and the server.
    pids : frozenset of int
        Those killed.
    table : frozenset of int
        Every process of the machine just then, those included that are about to end, or whose end nobody has taken note of.
    at : float
        When, in seconds since the epoch.
    """

    part: str
    pids: frozenset[int]
    table: frozenset[int]
    at: float


def living(folder: Path) -> dict[int, str]:
    """Return the part of every living process whose environment names a folder: those of a run, whoever started them."""
    mark, found = str(folder).encode(), {}
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if process.pid != os.getpid() and mark in Path(f"/proc/{process.pid}/environ").read_bytes():
                found[process.pid] = _part(process.cmdline())
    return found


def _part(command: Sequence[str]) -> str:
    names = {Path(word).name for word in command}
    if "supervise.py" in names:
        return "supervisor"
    if "uvicorn" in names:
        return "server"
    if any("work.py" in word for word in command):
        return "stage"
    if "flows.command" in command:
        return "flow"
    return "child" if "sleep" in names else "other"


def kill_one(draw: random.Random, folder: Path, flow: int, server: int | None) -> Killed | None:
    """Kill a part of a run by lot, now; None where the run has ended.

    Parameters
    ----------
    draw : random.Random
        The lot.
    folder : Path
        Of the run.
    flow : int
        The process id of `pricecut run`.
    server : int or None
        Of the Prefect server that stands beside it; None where the run has its own.
    """
    parts = living(folder)
    if flow not in parts:
        return None
    if server is not None:
        parts[server] = "server"
    there = set(parts.values()) | {"group", "machine"}
    weights = {part: weight for part, weight in WEIGHTS.items() if part in there}
    part = draw.choices(list(weights), list(weights.values()))[0]
    at = time.time()
    table = frozenset(psutil.pids())
    if part == "machine":
        return Killed(part, frozenset(_kill_all(parts, folder, server)), table, at)
    if part == "group":
        pids = [pid for pid in parts if _group(pid) == flow]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(flow, signal.SIGKILL)
    else:
        pids = [draw.choice(sorted(pid for pid, each in parts.items() if each == part))]
        kill(pids)
    return Killed(part, frozenset(pids), table, at)


def _kill_all(parts: Mapping[int, str], folder: Path, server: int | None) -> set[int]:
    """Kill a whole run as when the machine goes down: all are stopped first, stages foremost, so that none sees another die."""
    killed: set[int] = set()
    found = sorted(parts, key=lambda pid: ORDER.index(parts[pid]) if parts[pid] in ORDER else -1)
    while found:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        killed |= set(found)
        found = [pid for pid in {*living(folder), *([] if server is None else [server])} if pid not in killed]
    kill(killed)
    return killed


def kill(pids: Iterable[int]) -> None:
    """Kill processes that may be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
