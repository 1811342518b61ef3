"""What the lock brings is enough to start Prefect's own server and run a flow: in an environment of its own, with an empty home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.small import copying, make, status

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_fresh_install_of_the_lock_starts_a_server_and_runs_a_flow(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", ROOT / "requirements.lock"], check=True)
    subprocess.run([*pip, "--no-deps", "-e", ROOT], check=True)
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt")}, in__txt="x")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DVC_"))}
    done = subprocess.run(
        [tmp_path / "venv/bin/pricecut", "run"],
        cwd=root,
        env=clean | {"HOME": str(tmp_path / "home"), "NOTES": str(tmp_path / "notes")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Starting temporary server" in done.stderr and "wrote a.txt" in done.stderr
    assert status(root) == "Data and pipelines are up to date."
