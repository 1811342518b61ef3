"""A Prefect server on loopback, for benchmarks: one that stands through many runs, and may be killed."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.projects import environment
from flows.settings import SETTINGS

PATIENCE = 180
"""Seconds until a server must answer: its first start writes its database."""


@dataclass
class Server:
    """A Prefect server.

    Attributes
    ----------
    home : Path
        Its ``PREFECT_HOME``, where its database stands.
    port : int
        On 127.0.0.1.
    process : subprocess.Popen
        Itself; a new one after `ensure` found it dead.
    """

    home: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """What ``PREFECT_API_URL`` is set to."""
        return f"http://127.0.0.1:{self.port}/api"

    def ensure(self) -> bool:
        """Start it again where it is dead, and return whether it was."""
        dead = self.process.poll() is not None
        if dead:
            self.process = _start(self.home, self.port)
        return dead

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + PATIENCE
        while not _answers(f"{self.url}/health"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the Prefect server on port {self.port} does not answer; see {self.home}/server.log"
                )
            time.sleep(0.1)


@contextlib.contextmanager
def prefect_server(home: Path) -> Iterator[Server]:
    """Start a server whose database stands in a folder, and end it at the end."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = Server(home, port, _start(home, port))
    try:
        server.wait()
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.process.kill()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _start(home: Path, port: int) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    env = environment(PREFECT_HOME=str(home), PREFECT_CLI_PROMPT="false") | SETTINGS
    with (home / "server.log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=home, start_new_session=True
        )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
