"""Stages on other machines: real scheduler, workers and Prefect server on loopback, a clone a worker, a DVC remote between them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.dask_cluster import DaskCluster, dask_cluster
from tests.flows.clones import WORK, Clones, commit, is_as_serial, make_clones, pull, seconds

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prefect server on loopback; its URL."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/api/health").is_success:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@pytest.fixture
def clones(tmp_path, server):
    made = make_clones(tmp_path)
    return replace(made, environment=made.environment | {"PREFECT_API_URL": server})


def pricecut_run(made: Clones, cluster: DaskCluster, code: int = 0) -> str:
    return made.run("flows.command", "run", PRICECUT_DASK_ADDRESS=cluster.address, code=code)


def started(made: Clones, cluster: DaskCluster) -> subprocess.Popen[str]:
    environment = made.environment | {"PRICECUT_DASK_ADDRESS": cluster.address, "PRICECUT_DASK_WORKER_WITHIN": "2"}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.command", "run"],
        cwd=made.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_clones_share_the_stages_and_the_lock_is_a_serial_runs(clones):
    seconds(clones, 1)
    with dask_cluster(clones.base, clones.workers()) as cluster:
        said = pricecut_run(clones, cluster)
        assert "right  out/right begins in clone-" in said and f"beside {cluster.address}" in said
        assert {name for name in ("clone-1", "clone-2") if f"begins in {name}" in said} == {"clone-1", "clone-2"}
        assert (clones.root / "out" / "join.txt").read_text().count("hello") == 6
        assert is_as_serial(clones)
        assert "nothing new" in pricecut_run(clones, cluster)

        # A clone that is not as the coordinator's refuses, and says which file; the output that was there stays gone, DVC knows.
        (clones.root / "work.py").write_text(WORK + "# edited\n")
        refused = pricecut_run(clones, cluster, code=2)
        assert "work.py is another than the coordinator's; bring both to one commit" in refused
        commit(clones)
        pull(clones)
        params = clones.root / "params.yaml"
        params.write_text(params.read_text().replace("hello", "wrong"))
        assert "): params.yaml: the stage's params differ from the" in pricecut_run(clones, cluster, code=2)
        commit(clones)
        pull(clones)
        assert "left: no word" in pricecut_run(clones, cluster, code=2)
        params.write_text(params.read_text().replace("wrong", "again"))
        commit(clones)
        pull(clones)
        pricecut_run(clones, cluster)
        assert is_as_serial(clones)


def test_a_worker_that_is_killed_costs_the_run_nothing(clones):
    seconds(clones, 4)
    with dask_cluster(clones.base, clones.workers()) as cluster:
        run = started(clones, cluster)
        clone = clones.wait_for(".pricecut/left.pid")
        cluster.processes[int(clone.name[-1])].kill()
        said, _ = run.communicate(timeout=120)
        assert run.returncode == 0, said
        assert is_as_serial(clones)


def test_without_any_worker_left_the_run_says_so(clones):
    seconds(clones, 4)
    with dask_cluster(clones.base, clones.workers()[:1]) as cluster:
        run = started(clones, cluster)
        clones.wait_for(".pricecut/left.pid")
        cluster.processes[1].kill()
        said, _ = run.communicate(timeout=150)
        assert run.returncode == 2 and "every Dask worker was lost; start them again" in said, said


def test_ctrl_c_ends_what_runs_on_the_workers_and_the_next_run_goes_on(clones):
    seconds(clones, 30)
    with dask_cluster(clones.base, clones.workers()) as cluster:
        run = started(clones, cluster)
        left = int((clones.wait_for(".pricecut/left.pid") / ".pricecut/left.pid").read_text())
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
        deadline = time.monotonic() + 20
        while Path(f"/proc/{left}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not Path(f"/proc/{left}").exists()
        params = clones.root / "params.yaml"
        params.write_text(params.read_text().replace("seconds: 30", "seconds: 0"))
        commit(clones)
        pull(clones)
        pricecut_run(clones, cluster)
        assert is_as_serial(clones)


def test_when_the_coordinator_is_killed_the_next_run_takes_what_the_workers_were_doing(clones):
    seconds(clones, 6)
    with dask_cluster(clones.base, clones.workers()) as cluster:
        run = started(clones, cluster)
        clones.wait_for(".pricecut/left.pid")
        clones.wait_for(".pricecut/right.pid")
        run.kill()
        run.communicate()
        pricecut_run(clones, cluster)
        assert sorted(clones.ran()) == ["join.txt", "left", "right", "split.txt"]
        assert is_as_serial(clones)


def test_a_cluster_of_the_runs_own_works_in_the_coordinators_clone(clones):
    params = clones.root / "params.yaml"
    arguments = json.dumps({"n_workers": 2, "threads_per_worker": 1})
    params.write_text(
        params.read_text()
        + f"runner: {{kind: dask, cluster_class: distributed.LocalCluster, cluster_kwargs: {arguments}}}\n"
    )
    commit(clones)
    pull(clones)
    said = clones.run("flows.command", "run")
    assert "left  out/left begins in coordinator, beside tcp://127.0.0.1:" in said
    assert is_as_serial(clones)
