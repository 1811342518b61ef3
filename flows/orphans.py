"""Ends Prefect servers without an owner: one that a run had started for itself stands for ever where that run was killed."""

import contextlib
import os
from pathlib import Path

import psutil

OWNER = "PRICECUT_FLOW"
"""The environment variable that names the process id of the run which started a server for itself."""
EPHEMERAL = "PREFECT__SERVER_EPHEMERAL=1"
"""What Prefect sets for a server that it starts for one run (SubprocessASGIServer)."""


def own_what_starts() -> None:
    """Mark this process as the owner of the server that Prefect may start for it."""
    os.environ[OWNER] = str(os.getpid())


def end_orphans() -> list[int]:
    """End the servers whose run is dead, and return their process ids; those of living runs, and servers that stand by themselves, stay."""
    ended = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error, ValueError):
            environment = Path(f"/proc/{process.pid}/environ").read_text(errors="replace").split("\0")
            owner = next((entry.partition("=")[2] for entry in environment if entry.startswith(f"{OWNER}=")), None)
            # A living owner is the parent; the second question spares what a stage of a dead run has started.
            if owner and EPHEMERAL in environment and process.ppid() != int(owner) and not _lives(int(owner)):
                process.terminate()
                ended.append(process.pid)
    return ended


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
