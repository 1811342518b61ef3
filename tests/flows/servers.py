"""Real Prefect servers and workers, on loopback, each with a PREFECT_HOME of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.flows.toy import Toy


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true answer, or fail."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = true()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds} s: {what}")


@contextmanager
def process(command: list[str], log: Path, cwd: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A process of a session of its own, ended with all its children."""
    with log.open("w") as out:
        running = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield running
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(running.pid, number)
                running.wait(timeout=10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


@contextmanager
def server(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """A server; yields the settings that a client of it needs."""
    port = free_port()
    home = folder / "prefect"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_"))}
    own = {
        "PREFECT_HOME": str(home),
        "HOME": str(folder),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        # The clock of late and due runs, quicker than a test is patient.
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with process(command, folder / "server.log", folder, clean | own | settings) as running:
        url = f"http://127.0.0.1:{port}/api"

        def ready() -> bool:
            assert running.poll() is None, (folder / "server.log").read_text()[-3000:]
            return answers(url)

        wait_until(ready, 120, "the server answers")
        yield {"PREFECT_API_URL": url, "PREFECT_HOME": str(folder / "client"), "PREFECT_WORKER_QUERY_SECONDS": "1"}


@contextmanager
def worker(toy: Toy, name: str = "worker") -> Iterator[subprocess.Popen]:
    """A worker of the pool, in the toy's clone."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pricecut", "--name", name]
    environment = toy.environment | {"PRICECUT_HOME": str(toy.root)}
    with process(command, toy.root.parent / f"{name}.log", toy.root, environment) as running:
        yield running
