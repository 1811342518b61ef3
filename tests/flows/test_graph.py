import pytest

from flows.graph import producer, read_graph, stages_of, targeted
from ledger.errors import ConfigurationError
from tests.flows.conftest import Project
from tests.flows.small import make


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
    assert names[0] == "generate" and names[-1] == "report" and len(names) == 14
    spam = stages_of(graph, "youtube_spam")
    assert all(address.startswith("benchmarks/dvc.yaml:") for address in spam) and len(spam) == 13
    assert [s.label for s in stages_of(graph, "youtube_spam", "vote").values()] == [
        "collect@youtube_spam",
        "fuse@youtube_spam",
        "embed@youtube_spam",
        "vote@youtube_spam",
    ]
    assert stages_of(graph, "nobody") == {}


def test_pools_are_the_dags(graph):
    pools = {stage.label.partition("@")[0]: stage.contract.pool for stage in graph.values()}
    assert (pools["vote"], pools["teach"], pools["evaluate"]) == ("cpu", "train", "latency")


def test_a_target_is_an_app_a_stage_or_a_pipeline(graph):
    assert len(targeted(graph, "customer_service")) == 13
    assert targeted(graph, "vote@customer_service") == ["vote@customer_service"]
    assert {a.rpartition(":")[2] for a in targeted(graph, "vote")} == {
        "vote@customer_service",
        "vote@youtube_spam",
        "vote@youtube_wrench",
    }
    assert len(targeted(graph, "benchmarks/dvc.yaml")) == 26
    with pytest.raises(ConfigurationError, match="'nobody' is no app, no stage and no pipeline"):
        targeted(graph, "nobody")


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"pool": "cpu", "retires": 3}, "meta.retires: unknown key"),
        ({"retries": -1}, "meta.retries"),
        ({"timeout": 0}, "meta.timeout"),
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(tmp_path, monkeypatch, meta, words):
    monkeypatch.chdir(make(tmp_path / "p", {"a": {"cmd": "true", "outs": ["a"], "meta": meta}}))
    with pytest.raises(ConfigurationError, match=rf"dvc\.yaml:\d+: stages\.a\.{words}"):
        read_graph()


def test_who_writes_the_sources(graph):
    from pathlib import Path

    assert producer(graph, Path("data/customer_service/sources")).label == "generate"
    assert producer(graph, Path("benchmarks/public/youtube")) is None


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
