"""Orders: what a worker of another machine is asked to do, by a real scheduler and two workers, each with a clone of its own."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from distributed import Client

from flows import attempts
from flows.attempts import folder_of
from flows.exchange import bring, push, read_recipe
from flows.machines import Order, carry_out, machine
from flows.repository import Work
from tests.dask_cluster import dask_cluster
from tests.flows.clones import DAG, WORK, make_clones


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    return make_clones(tmp_path_factory.mktemp("machines"))


@pytest.fixture(scope="module")
def client(clones):
    workers = [(folder, environment | {"SECRET_KEY": "hush-hush"}) for folder, environment in clones.workers()]
    with (
        dask_cluster(clones.base, workers) as cluster,
        Client(cluster.address, set_as_default=False) as connected,
    ):
        yield connected


@contextlib.contextmanager
def inside(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def order_for(clones, address, where=None):
    with inside(clones.root):
        recipe = read_recipe(address)
        work = Work([["/bin/sh", "-c", recipe.definition["cmd"]]], str(clones.root), {}, [], {})
        return Order("1", address, str(where or clones.root), machine(), "abc", recipe, work, None, 77)


def send(client, order, worker):
    return client.submit(carry_out, order.as_json(), workers=[worker], pure=False).result(60)


def test_an_order_reads_back_as_it_was_written(clones):
    order = order_for(clones, "split")
    assert Order.from_json(json.loads(json.dumps(order.as_json()))) == order


def test_a_worker_runs_a_stage_in_its_clone_and_its_outputs_come_through_the_remote(clones, client):
    heard = []
    client.subscribe_topic("pricecut", lambda event: heard.append(event[1]))
    order = order_for(clones, "split")
    with inside(clones.root):
        push(order.recipe.inputs)
    for number in (1, 2):
        answer = send(client, order, f"worker-{number}")
        (output,) = answer["outputs"]
        assert output["path"] == "out/split.txt" and (clones.base / f"clone-{number}" / output["path"]).exists()
        assert any(
            said[0] == "1" and f"begins in clone-{number}" in said[1] and "(77 rows)" in said[1] for said in heard
        )
    assert not (clones.root / "out").exists()
    from flows.exchange import Item

    with inside(clones.root):
        bring([Item(**output)])
    assert (clones.root / "out" / "split.txt").read_text() == "a,b\n1,2\nsplit.txt"
    # The second time it is unchanged there, and costs no process.
    heard.clear()
    assert send(client, order, "worker-1") == answer and not heard


def test_a_clone_that_differs_refuses_with_the_file(clones, client):
    order = order_for(clones, "split")
    path = clones.base / "clone-2" / "work.py"
    path.write_text(WORK + "# edited\n")
    answer = send(client, order, "worker-2")
    assert answer["code"] == 2 and "clone-2 (at " in answer["error"]
    assert "is not as the coordinator's (at abc): work.py is another than the coordinator's" in answer["error"]
    path.unlink()
    assert "work.py is missing here" in send(client, order, "worker-2")["error"]
    path.write_text(WORK)
    dag = clones.base / "clone-2" / "dvc.yaml"
    dag.write_text(DAG.replace("work.py 0 out/split", "work.py 0.0 out/split"))
    assert "dvc.yaml: the stage's cmd differ" in send(client, order, "worker-2")["error"]
    dag.write_text(DAG)


def test_a_worker_without_a_clone_says_so(clones, client, tmp_path):
    home = {"PRICECUT_HOME": str(tmp_path / "none")}
    with dask_cluster(tmp_path, [(tmp_path, {}), (tmp_path, home)]) as cluster, Client(cluster.address) as other:
        order = order_for(clones, "split")
        elsewhere = Order(**vars(order) | {"machine": "another"})
        assert "has no clone to work in; start it with PRICECUT_HOME" in send(other, elsewhere, "worker-1")["error"]
        assert "none: no such folder" in send(other, order, "worker-2")["error"]


def test_a_worker_of_the_coordinators_clone_works_in_place(clones, client):
    order = order_for(clones, "split", where=clones.base / "clone-1")
    order = Order(**vars(order) | {"work": Work(order.work.commands, str(clones.base / "clone-1"), {}, [], {})})
    (clones.base / "clone-1" / "out" / "split.txt").unlink()
    assert send(client, order, "worker-1") == {"outputs": []}
    assert (clones.base / "clone-1" / "out" / "split.txt").exists()
    with inside(clones.base / "clone-1"):
        assert attempts.is_finished(attempts.find(folder_of("split")))
        attempts.forget(folder_of("split"))
    commands = [["/bin/sh", "-c", "echo split: no such thing as $SECRET_KEY; exit 2"]]
    failing = Order(**vars(order) | {"work": Work(commands, str(clones.base), {}, [], {})})
    # What a worker's own environment holds as a secret does not leave it.
    assert send(client, failing, "worker-1") == {"error": "split: no such thing as ***", "code": 2}
