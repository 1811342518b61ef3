from pathlib import Path

import pytest

from flows.elsewhere import refusal
from flows.graph import Contract, Stage
from flows.runners import open_cluster, read_runner
from labeling.partitions import ADDRESS, PARTITION_ROWS
from ledger.errors import ConfigurationError


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ADDRESS, raising=False)
    return lambda text: Path("params.yaml").write_text(text)


@pytest.mark.parametrize("text", ["apps: {}\n", "runner:\n", "runner: {kind: threads}\n"])
def test_threads_are_the_default(written, text):
    written(text)
    runner = read_runner()
    assert (runner.kind, runner.partition_rows) == ("threads", PARTITION_ROWS)
    with open_cluster(runner) as dask:
        assert dask is None


def test_an_address(written):
    written("runner: {kind: dask, address: 'tcp://10.0.0.1:8786', resources: [gpu], partition_rows: 5}\n")
    runner = read_runner()
    assert (runner.address, runner.resources, runner.partition_rows) == ("tcp://10.0.0.1:8786", ["gpu"], 5)


def test_the_environments_address_goes_first(written, monkeypatch):
    written("runner: {kind: dask, cluster_class: distributed.LocalCluster, partition_rows: 7}\n")
    monkeypatch.setenv(ADDRESS, "tls://scheduler:8786")
    runner = read_runner()
    assert (runner.kind, runner.address, runner.cluster_class) == ("dask", "tls://scheduler:8786", None)
    assert runner.partition_rows == 7
    monkeypatch.setenv(ADDRESS, "scheduler")
    with pytest.raises(ConfigurationError, match=f"{ADDRESS}=scheduler: expected tcp://host:port or tls://host:port"):
        read_runner()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{kind: threads, adress: x}", r"params\.yaml:1: runner.adress: unknown key"),
        ("{kind: processes}", "runner.kind: .*'threads' or 'dask'"),
        ("{kind: dask}", "expects an address or a cluster_class"),
        (
            "{kind: dask, address: 'tcp://a:1', cluster_class: a.b}",
            "expects an address or a cluster_class, and not both",
        ),
        ("{kind: dask, address: 'a:1'}", "runner.address: String should match"),
        ("{kind: threads, address: 'tcp://a:1'}", "say kind: dask"),
        ("{kind: dask, address: 'tcp://a:1', cluster_kwargs: {a: 1}}", "belong to a cluster_class"),
        ("{kind: dask, address: 'tcp://a:1', partition_rows: 0}", "runner.partition_rows: .*got 0"),
    ],
)
def test_what_does_not_fit_is_refused(written, section, message):
    written(f"runner: {section}\n")
    with pytest.raises(ConfigurationError, match=message):
        read_runner()


@pytest.mark.parametrize("name", ["nowhere.Cluster", "distributed.NoCluster"])
def test_a_class_that_is_none(written, name):
    written(f"runner: {{kind: dask, cluster_class: {name}}}\n")
    with (
        pytest.raises(ConfigurationError, match=rf"runner\.cluster_class: {name}: "),
        open_cluster(read_runner()),
    ):
        pass


def test_a_scheduler_that_is_not_there(written, monkeypatch):
    monkeypatch.setattr("labeling.partitions.ANSWERS_WITHIN_S", 0.5)
    written("runner: {kind: dask, address: 'tcp://127.0.0.1:9'}\n")
    with (
        pytest.raises(
            ConfigurationError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers there .*`dask scheduler`"
        ),
        open_cluster(read_runner()),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RuntimeError("Failed to reach API at http://127.0.0.1:9/api/"), 2, "set PREFECT_API_URL, here, to an address"),
        (RuntimeError("Error during deserialization of the task graph."), 2, "start them again, by the .venv/bin/dask"),
        (ModuleNotFoundError("No module named 'flows'"), 2, "start them again, by the .venv/bin/dask"),
        (ValueError("else"), 1, "a Dask worker could not run it: ValueError: else"),
    ],
)
def test_what_dask_and_prefect_raise_is_said_as_what_to_do(error, code, said):
    stage = Stage("vote@x", Contract(), (), ())
    failure = refusal(stage, error)
    assert failure.exit_code == code and said in str(failure) and str(failure).startswith("vote@x: ")
