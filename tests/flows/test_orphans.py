import logging
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.projects import FLOW, branches, environment, read_journal, write_project
from benchmarks.victims import living
from flows.orphans import QUIET, end_orphans, own_what_starts

SERVER = "import subprocess, sys, time, os; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'], env={**os.environ, 'PREFECT__SERVER_EPHEMERAL': '1'}); print(p.pid, flush=True); time.sleep(120)"
RUN = f"from flows.orphans import own_what_starts; own_what_starts(); {SERVER}"


@pytest.fixture
def started():
    """A process that marks itself as a run does and starts what Prefect would start for it."""
    run = subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True)
    server = psutil.Process(int(run.stdout.readline()))
    yield run, server
    for process in (run, server):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    run.wait()


def test_the_server_of_a_killed_run_is_ended_and_that_of_a_living_one_stays(started):
    run, server = started
    assert server.pid not in end_orphans()
    assert server.is_running()
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert server.pid in end_orphans()
    gone, _ = psutil.wait_procs([server], timeout=10)
    # Where nobody takes the exit codes of orphans, as in some containers, it stays a zombie.
    assert gone or server.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_run_whose_own_server_is_killed_starts_it_again_and_goes_through(tmp_path):
    project = write_project(tmp_path / "project", branches(2, 2, amount=6.0))
    env = environment(tmp_path / "journal", PREFECT_HOME=str(tmp_path / "home"))
    run = subprocess.Popen(FLOW, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while len(read_journal(tmp_path / "journal")) < 2 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    (server,) = [pid for pid, part in living(tmp_path).items() if part == "server"]
    os.kill(server, signal.SIGKILL)
    said, _ = run.communicate(timeout=100)
    assert run.returncode == 0, said
    assert "starting it again" in said
    assert "Traceback" not in said
    assert not living(tmp_path)


KEPT = """
import os
from pathlib import Path
from flows.settings import apply_settings
apply_settings()
from flows.orphans import server_kept
with server_kept():
    from prefect.server.api.server import SubprocessASGIServer
    server = SubprocessASGIServer().server_process
    print(any(entry == "PREFECT_LOGGING_ROOT_LEVEL=CRITICAL" for entry in Path(f"/proc/{server.pid}/environ").read_text().split(chr(0))))
    print("PREFECT_LOGGING_ROOT_LEVEL" in os.environ)
"""
LEVELS = "import logging, prefect.main; print(logging.getLogger('sqlalchemy.pool').getEffectiveLevel(), logging.getLogger('prefect.server').getEffectiveLevel())"


def without_prefect(tmp_path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {"PREFECT_HOME": str(tmp_path)} | more


def test_a_runs_own_server_alone_is_started_quiet(tmp_path):
    env = without_prefect(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KEPT], env=env, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_what_is_quiet_is_not_prefect_itself(tmp_path):
    env = without_prefect(tmp_path, PREFECT_SERVER_LOGGING_LEVEL="ERROR", **QUIET)
    done = subprocess.run([sys.executable, "-c", LEVELS], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(logging.CRITICAL), str(logging.ERROR)]


def test_without_any_server_the_run_says_what_to_set(tmp_path):
    env = without_prefect(tmp_path, PREFECT_SERVER_EPHEMERAL_ENABLED="false")
    done = subprocess.run([sys.executable, "-c", KEPT], env=env, capture_output=True, text=True, check=False)
    assert "ConfigurationError: Prefect has no server: set PREFECT_API_URL" in done.stderr


def test_a_run_names_itself(monkeypatch):
    monkeypatch.delenv("PRICECUT_FLOW", raising=False)
    own_what_starts()
    assert os.environ["PRICECUT_FLOW"] == str(os.getpid())
    monkeypatch.delenv("PRICECUT_FLOW")
