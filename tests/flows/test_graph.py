import pytest

from flows.graph import StageError, _failure, is_worth_telling, producer, read_graph, stages_of
from tests.flows.conftest import Project


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    from tests.flows.conftest import clone

    project = clone(tmp_path_factory.mktemp("graph"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        return read_graph()


def test_a_stage_stands_after_what_it_needs(graph):
    seen = set()
    for address, stage in graph.items():
        assert set(stage.needs) <= seen
        seen.add(address)


def test_an_apps_stages_and_what_they_need(graph):
    names = [stage.label.partition("@")[0] for stage in stages_of(graph, "customer_service").values()]
    assert names[0] == "generate" and names[-1] == "report" and len(names) == 13
    spam = stages_of(graph, "youtube_spam")
    assert all(address.startswith("benchmarks/dvc.yaml:") for address in spam) and len(spam) == 12
    assert [s.label for s in stages_of(graph, "youtube_spam", "vote").values()] == [
        "collect@youtube_spam",
        "fuse@youtube_spam",
        "embed@youtube_spam",
        "vote@youtube_spam",
    ]
    assert stages_of(graph, "nobody") == {}


def test_pools_are_the_dags(graph):
    pools = {stage.label.partition("@")[0]: stage.pool for stage in graph.values()}
    assert (pools["vote"], pools["teach"], pools["evaluate"]) == ("cpu", "train", "latency")


def test_who_writes_the_sources(graph):
    from pathlib import Path

    assert producer(graph, Path("data/customer_service/sources")).label == "generate"
    assert producer(graph, Path("benchmarks/public/youtube")) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("vote: 15 functions on 1209 rows", True),
        ("Running stage 'vote@a':", False),
        ("Updating lock file 'dvc.lock'", False),
        ("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR", False),
        ("I0000 00:00:1795560598.063975    5493 cudart_stub.cc:31] Could not find cuda drivers", False),
        ("   ", False),
    ],
)
def test_noise_is_not_told(line, told):
    assert is_worth_telling(line) is told


def test_a_failures_message_is_the_stages_own():
    said = [
        "fuse: 10 records",
        "fuse small: data/small/records.parquet: every known label is 'good'",
        "add some",
        "ERROR: failed to reproduce 'fuse@small': failed to run: python -m labeling.fuse small x, exited with 2",
    ]
    error = _failure("benchmarks/dvc.yaml:fuse@small", 255, said)
    assert isinstance(error, StageError) and error.exit_code == 2
    assert str(error) == "fuse small: data/small/records.parquet: every known label is 'good'\nadd some"


def test_a_defect_keeps_its_code_and_last_lines():
    error = _failure(
        "fuse@small", 255, ["Traceback", "ZeroDivisionError: x", "ERROR: failed to reproduce 'f', exited with 1"]
    )
    assert error.exit_code == 1 and "ZeroDivisionError: x" in str(error)


def test_an_interrupted_run_leaves_no_process(project: Project):
    """Ctrl-C while a stage runs: its whole process group ends, and the next run goes through."""
    import signal
    import subprocess
    import sys
    import time

    import psutil

    slow = project.root / "labeling/apps/customer_service/generate.py"
    text = slow.read_text()
    slow.write_text(text.replace("    parameters = read", "    import time; time.sleep(600)\n    parameters = read", 1))
    code = "import flows.command, sys; sys.argv = ['pricecut', 'check', 'customer_service']; flows.command.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=project.root, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (children := sleepers(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert children
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive
    slow.write_text(text)
    assert "in order" in project.run("pricecut", "check", "customer_service").stdout


def sleepers(pid):
    import psutil

    try:
        found = psutil.Process(pid).children(recursive=True)
        return [p for p in found if any("generate" in part for part in p.cmdline())] and found
    except psutil.NoSuchProcess:
        return []
