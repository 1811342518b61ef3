"""A real Dask scheduler and its workers on loopback, each a process, as an operator starts them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DASK = Path(sys.prefix) / "bin" / "dask"
ON_LOOPBACK = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")


@dataclass(frozen=True)
class DaskCluster:
    """The scheduler's address, and the processes: the scheduler's, then the workers'."""

    address: str
    processes: tuple[subprocess.Popen[bytes], ...]


@contextmanager
def dask_cluster(
    folder: Path, clones: Sequence[tuple[Path, dict[str, str]]], scheduler: dict[str, str] | None = None
) -> Iterator[DaskCluster]:
    """Start a scheduler, and a worker of one thread in each folder with an environment of its own."""
    found = folder / "scheduler.json"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "POLARS_MAX_THREADS": "1"}
    processes = []

    def start(name: str, *words: object, cwd: Path, env: dict[str, str]) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, str(DASK), *map(str, words)]
            processes.append(subprocess.Popen(command, cwd=cwd, env=environment | env, stdout=log, stderr=log))

    try:
        start(
            "scheduler",
            "scheduler",
            *ON_LOOPBACK,
            "--port",
            0,
            "--scheduler-file",
            found,
            cwd=folder,
            env=scheduler or {},
        )
        for number, (cwd, env) in enumerate(clones, start=1):
            options = (*ON_LOOPBACK, "--nthreads", 1, "--no-nanny", "--name", f"worker-{number}")
            words = ("worker", "--scheduler-file", found, *options, "--local-directory", folder / f"scratch-{number}")
            start(f"worker-{number}", *words, cwd=cwd, env=env)
        deadline = time.monotonic() + 60
        logs = [folder / f"worker-{number}.log" for number in range(1, len(clones) + 1)]
        while not found.exists() or not all("Registered to" in log.read_text() for log in logs):
            if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
                raise AssertionError("\n".join(log.read_text() for log in [folder / "scheduler.log", *logs]))
            time.sleep(0.05)
        yield DaskCluster(json.loads(found.read_text())["address"], tuple(processes))
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
