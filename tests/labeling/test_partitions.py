import os
import socket
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from snorkel.labeling import labeling_function

from labeling.duplicates import near_duplicate_groups
from labeling.functions import column, expression, keyword, knowledge, regex
from labeling.partitions import ADDRESS, ROWS, Cluster, configured_cluster, over_cluster
from labeling.voting.apply import vote_all
from ledger.errors import ConfigurationError, FunctionError, PricecutError
from tests.dask_cluster import dask_cluster

LABELS = ("bad", "good")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask")
    # The scheduler has none of this code: packages of the same names stand before it.
    for package in ("labeling", "ledger"):
        (folder / "without" / package).mkdir(parents=True)
        (folder / "without" / package / "__init__.py").touch()
    with dask_cluster(folder, [(folder, {})] * 2, {"PYTHONPATH": str(folder / "without")}) as started:
        yield started


@pytest.fixture
def on_cluster(cluster, monkeypatch):
    def set_rows(rows):
        monkeypatch.setenv(ADDRESS, cluster.address)
        monkeypatch.setenv(ROWS, str(rows))

    return set_rows


class Counted:
    """A resource that notes in a file each process that it reaches."""

    def __init__(self, path):
        self.path, self.words = path, ("late", "broken")

    def __setstate__(self, state):
        vars(self).update(state)
        with Path(self.path).open("a") as notes:
            notes.write(f"{os.getpid()}\n")


def table(count):
    things = ("kettle", "lamp", "phone", "ﬁne chair", "straße")
    said = ("great", "awful", "late again", "broken!!", "so so", "love it")
    return pl.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(count)],
            "text": [f"the {things[i % 5]} {i * 7919 % 1000} is {said[i * 31 % 6]}" for i in range(count)],
            "n": list(range(count)),
            "queue": [None if i % 4 == 0 else ("a", "b", "c")[i % 3] for i in range(count)],
        }
    )


def functions(resource):
    @labeling_function(resources={"resource": resource})
    def by_resource(x, resource):
        return "bad" if any(word in x.text for word in resource.words) else None

    @labeling_function()
    def fails_on_sevens(x):
        if x.n % 7 == 3:
            raise ValueError(f"seven {x.n}")
        return 1 if x.n % 5 == 0 else -1

    return [
        keyword("praise", "good", ["great", "love it"]),
        regex("again", "bad", r"late\s+again|!!"),
        regex("look", "bad", r"(?<=so )so"),
        expression("rare", "good", pl.col("n").rank() < 20),
        expression("above", "bad", pl.col("n") > pl.col("n").mean() * 1.9),
        column("queued", "queue", {"a": "good", "b": "bad"}),
        knowledge("known", {"awful": "bad", "fine chair": "good"}),
        by_resource,
        fails_on_sevens,
    ]


def test_votes_on_a_cluster_are_byte_for_byte_those_of_one_process(on_cluster, tmp_path, monkeypatch):
    monkeypatch.delenv(ADDRESS, raising=False)
    rows, notes = table(3000), tmp_path / "notes"
    notes.touch()
    here = vote_all(functions(Counted(str(notes))), rows, LABELS, processes=1)
    assert notes.read_text() == ""
    on_cluster(170)
    for given in (rows, rows.lazy()):
        there = vote_all(functions(Counted(str(notes))), given, LABELS)
        assert [v.column.tobytes() for v in there] == [v.column.tobytes() for v in here]
        assert [(v.errors, v.first_error) for v in there] == [(v.errors, v.first_error) for v in here]
    reached = notes.read_text().split()
    # Both workers had work, and the resource reached each once a vote.
    assert len(set(reached)) == 2 and sorted(reached) == sorted([*set(reached)] * 2)
    assert str(os.getpid()) not in reached


def test_a_corpus_of_one_partition_stays_here(on_cluster, tmp_path):
    on_cluster(200)
    notes = tmp_path / "notes"
    notes.touch()
    vote_all(functions(Counted(str(notes))), table(200), LABELS)
    assert notes.read_text() == ""


def test_the_first_wrong_vote_is_refused_as_in_one_process(on_cluster):
    @labeling_function()
    def wrong(x):
        return 9 if x.n in (1500, 900) else -1

    on_cluster(100)
    with pytest.raises(FunctionError, match=r"function 'wrong' returned 9 on row 'r900'") as refused:
        vote_all([wrong], table(2000), LABELS)
    assert refused.value.function == "wrong"


def test_what_cannot_be_sent_runs_here(on_cluster, caplog):
    import threading

    lock = threading.Lock()

    @labeling_function(resources={"lock": lock})
    def locked(x, lock):
        with lock:
            return 1

    on_cluster(100)
    with caplog.at_level("INFO"):
        (voted,) = vote_all([locked], table(300), LABELS, processes=1)
    assert (voted.column == 1).all() and "cannot be sent" in caplog.text


def test_near_duplicates_are_the_same_groups(on_cluster, monkeypatch):
    texts = table(1500)["text"].to_list()
    texts += [text.upper() + " ?" for text in texts[:400]] + ["", "!?", ":-)"]
    monkeypatch.delenv(ADDRESS, raising=False)
    here = {threshold: near_duplicate_groups(texts, threshold) for threshold in (0.8, 1.0)}
    on_cluster(97)
    for threshold, groups in here.items():
        there = near_duplicate_groups(texts, threshold)
        assert there.dtype == np.int32 and there.tobytes() == groups.tobytes()
    assert len(set(here[0.8])) < len(set(here[1.0])) < len(texts)


def test_a_worker_with_other_code_refuses(cluster, monkeypatch):
    monkeypatch.setattr("labeling.partitions.CODE", "another")
    with pytest.raises(PricecutError, match=r"the Dask worker on .* runs other code.*bring its clone"):
        list(over_cluster(Cluster(cluster.address, 1), divide, 1, iter([1])))


def divide(shared, partition):
    if partition == "die":
        os.kill(os.getpid(), 9)
    return shared / partition


def test_answers_come_in_order_and_errors_in_their_turn(cluster):
    answers = over_cluster(Cluster(cluster.address, 1), max, 3, iter(range(40)))
    assert list(answers) == [max(3, i) for i in range(40)]


def test_a_scheduler_that_is_not_there_is_one_sentence_and_exit_2(small_app, monkeypatch):
    from labeling import vote
    from ledger.meter import Usage
    from tests.labeling.conftest import run_until

    run_until(small_app, "embed")
    monkeypatch.setattr("labeling.partitions.ANSWERS_WITHIN_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv(ADDRESS, address)
        monkeypatch.setenv(ROWS, "10")
        with pytest.raises(
            PricecutError, match=f"^{address}: no Dask scheduler answers there.*`dask scheduler`"
        ) as said:
            vote.main(small_app, Usage("vote"))
    assert said.value.exit_code == 2 and "\n" not in str(said.value)


def test_a_scheduler_without_workers_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("labeling.partitions.ANSWERS_WITHIN_S", 1.0)
    with (
        dask_cluster(tmp_path, []) as empty,
        pytest.raises(PricecutError, match="has no worker; start one with `dask worker tcp"),
    ):
        list(over_cluster(Cluster(empty.address, 1), max, 3, iter([1])))


def test_rows_that_are_none(monkeypatch):
    monkeypatch.delenv(ADDRESS, raising=False)
    monkeypatch.setenv(ROWS, "many")
    assert configured_cluster() is None
    monkeypatch.setenv(ADDRESS, "tcp://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="PRICECUT_DASK_PARTITION_ROWS=many: expected"):
        configured_cluster()
    monkeypatch.delenv(ROWS)
    assert configured_cluster() == Cluster("tcp://127.0.0.1:1", 100_000)


def test_nothing_listens_beyond_loopback(cluster):
    listening = [
        connection.laddr.ip
        for process in cluster.processes
        for connection in psutil.Process(process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3 and set(listening) == {"127.0.0.1"}


def die_once(marker, partition):
    if partition == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), 9)
    return partition


def test_a_worker_that_dies_costs_nothing_and_a_partition_that_ends_each_is_one_sentence(tmp_path):
    with dask_cluster(tmp_path, [(tmp_path, {})] * 2) as own:
        cluster = Cluster(own.address, 1)
        assert list(over_cluster(cluster, die_once, str(tmp_path / "died"), iter(range(12)))) == list(range(12))
        assert (tmp_path / "died").exists() and sum(process.poll() is not None for process in own.processes) == 1
        with pytest.raises(PricecutError, match=r"workers that held what .* were lost|died of the same partition"):
            list(over_cluster(cluster, divide, 1, iter(["die"])))
