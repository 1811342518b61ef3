"""dask4dvc, the peer of `pricecut run`, in a virtual environment of its own: it holds DVC at 2.58.

Run as a script by that environment's Python, this file is the Dask cluster that dask4dvc is given: so many workers of one thread each.
"""

import contextlib
import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CACHE = Path.home() / ".cache" / "pricecut" / "dask4dvc"
PINS = (
    "dask4dvc==0.2.3",
    # What it and DVC 2.58 were released beside: with today's, neither starts (click, numpy, pathspec) or its queue breaks (celery, kombu).
    "click<8.2",
    "numpy<2",
    "pathspec<0.12",
    "celery<5.4",
    "kombu<5.4",
    "pygit2<1.13",
    "dulwich<0.22",
    "scmrepo<1.4",
)


def make_environment(folder: Path = CACHE) -> Path:
    """Return the ``bin`` folder of the environment, which is made the first time."""
    done = folder / "pins.txt"
    if not done.exists() or done.read_text(encoding="utf-8") != "\n".join(PINS):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        done.write_text("\n".join(PINS), encoding="utf-8")
    return folder / "bin"


@contextlib.contextmanager
def cluster(programs: Path, workers: int, env: Mapping[str, str], cwd: Path) -> Iterator[str]:
    """Start a Dask cluster on loopback, and give its scheduler's address.

    Parameters
    ----------
    programs : Path
        As `make_environment` returns it.
    workers : int
        Of one thread each.
    env : mapping of str to str
        What the workers' commands get.
    cwd : Path
        Where the workers run: the project, whose `dvc` commands they start.
    """
    command = [str(programs / "python"), str(Path(__file__).resolve()), str(workers)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env, cwd=cwd
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def main() -> None:
    """Stand as a cluster until standard input ends."""
    # Of this environment's distributed, not of the one that mypy knows.
    local_cluster: Any = importlib.import_module("distributed").LocalCluster
    with local_cluster(
        n_workers=int(sys.argv[1]), threads_per_worker=1, host="127.0.0.1", dashboard_address=None, processes=True
    ) as standing:
        sys.stdout.write(f"{standing.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
