"""Random graphs whose stages fail at random: whatever the order in which the flow ran them, dvc.lock is a serial run's."""

import random
from collections import Counter

import pytest

from benchmarks.projects import (
    DVC,
    copy_project,
    environment,
    outputs,
    random_graph,
    read_journal,
    run,
    write_project,
)
from benchmarks.servers import prefect_server
from benchmarks.work import FAILURES, JOURNAL


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One Prefect server for all graphs, and this process' settings, which would find the one of the person who runs the tests."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    home = tmp_path_factory.mktemp("prefect")
    with (
        prefect_server(home / "server") as standing,
        temporary_settings({PREFECT_API_URL: standing.url, PREFECT_HOME: home / "client"}),
    ):
        yield standing


def run_until_it_goes_through(runs):
    from flows.pipeline import run_pipeline

    for count in range(1, runs + 1):
        state = run_pipeline(return_state=True)
        if state.is_completed():
            return count, state
    raise AssertionError(f"not through after {runs} runs: {state.message}")


def compare_with_a_serial_run(seed, stages, folder, monkeypatch):
    nodes = random_graph(random.Random(seed), stages, failing=0.3)
    project = write_project(folder / "project", nodes)
    serial = copy_project(project, folder / "serial")
    done = run((*DVC, "repro"), serial, environment())
    assert done.returncode == 0, done.stdout

    (folder / "failures").mkdir()
    for name, path in {JOURNAL: folder / "journal", FAILURES: folder / "failures"}.items():
        monkeypatch.setenv(name, str(path))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.chdir(project)
    runs, _ = run_until_it_goes_through(1 + sum(node.fails for node in nodes if not node.retries))

    assert (project / "dvc.lock").read_bytes() == (serial / "dvc.lock").read_bytes()
    assert outputs(project, nodes) == outputs(serial, nodes)
    assert "up to date" in run((*DVC, "status"), project, environment()).stdout
    events = Counter((line["stage"], line["event"]) for line in read_journal(folder / "journal"))
    assert {node.name: events[node.name, "end"] for node in nodes} == {node.name: 1 for node in nodes}
    assert {node.name: events[node.name, "start"] for node in nodes} == {node.name: 1 + node.fails for node in nodes}
    assert (runs > 1) == any(node.fails and not node.retries for node in nodes)

    count, state = run_until_it_goes_through(1)
    assert count == 1 and "nothing new" in state.message


@pytest.mark.parametrize("seed", [1, 2])
def test_the_lock_is_a_serial_runs(seed, server, tmp_path, monkeypatch):
    compare_with_a_serial_run(seed, 14, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_the_lock_of_40_stages_is_a_serial_runs(seed, server, tmp_path, monkeypatch):
    compare_with_a_serial_run(seed, 40, tmp_path, monkeypatch)
