"""The Prefect server that a run starts for itself: it ends after a run that was killed, and starts again where it was killed itself."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from ledger.errors import ConfigurationError

OWNER = "PRICECUT_FLOW"
"""The environment variable that names the process id of the run which started a server for itself."""
EPHEMERAL = "PREFECT__SERVER_EPHEMERAL=1"
"""What Prefect sets for a server that it starts for one run (SubprocessASGIServer)."""
PORT_TAKEN = 3
"""What such a server exits with where another program has its port; Prefect then looks for another one."""


QUIET = {"PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL"}
"""Set for this run's own server alone. What it is amid as it is told to stop it breaks off, which SQLAlchemy reports, with a
traceback, to whoever reads the run's output (sqlalchemy 2.0 pool/base.py, _finalize_fairy). Errors of Prefect's own loggers stay."""
LOOK_EVERY = 0.5
"""Seconds between two looks whether it lives."""

log = logging.getLogger(__name__)


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


@contextlib.contextmanager
def server_kept() -> Iterator[None]:
    """Start this run's own server, where none is named, and again where it has died: on its port, with its database.

    Raises
    ------
    ConfigurationError
        If no server is named, and Prefect may start none.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED

    if not PREFECT_API_URL.value():
        if not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
            raise ConfigurationError(
                "Prefect has no server: set PREFECT_API_URL to one, or PREFECT_SERVER_EPHEMERAL_ENABLED to true for one of the run's own"
            )
        from prefect.server.api.server import SubprocessASGIServer

        added = {name: value for name, value in QUIET.items() if name not in os.environ}
        os.environ.update(added)  # no other thread starts anything yet
        try:
            SubprocessASGIServer().start()  # the one that Prefect's clients ask for
        finally:
            for name in added:
                del os.environ[name]
    over = threading.Event()
    keeping = threading.Thread(target=_keep_server, args=(over,), daemon=True, name="pricecut-server")
    keeping.start()
    try:
        yield
    finally:
        over.set()
        keeping.join()


def _keep_server(over: threading.Event) -> None:
    while not over.wait(LOOK_EVERY):
        # Imported only where Prefect starts a server, and takes a second, in which it is there but empty.
        started = getattr(sys.modules.get("prefect.server.api.server"), "SubprocessASGIServer", None)
        for server in list(started._instances.values()) if started is not None else ():
            process = getattr(server, "server_process", None)
            if process is not None and server.running and process.poll() not in (None, PORT_TAKEN):
                log.warning("this run's Prefect server has died (%s): starting it again", process.returncode)
                server.server_process = server._run_uvicorn_command()


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
