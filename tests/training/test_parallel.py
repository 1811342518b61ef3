import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

from ledger.errors import ConfigurationError, DistributionError
from tests.training.replicas import train
from training.parallel import Hardware, check_cluster, computes_bfloat16, make_strategy, meet, precision_policy

HARDWARE = Hardware(strategy="none", precision="float32", listen=False)
EPOCHS = 2


def change(**keys: object) -> Hardware:
    return HARDWARE.model_copy(update=keys)


def start(
    strategy: str, checkpoint: Path, epochs: int = EPOCHS, pause: float = 0.0, **environment: str
) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.training.replicas", strategy, str(epochs), str(checkpoint), str(pause)]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1", **environment}
    return subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def answer(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def cluster() -> list[str]:
    """``TF_CONFIG`` of two workers on free ports."""
    with socket.socket() as one, socket.socket() as two:
        for port in (one, two):
            port.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{port.getsockname()[1]}" for port in (one, two)]
    document = {"cluster": {"worker": workers}}
    return [json.dumps(document | {"task": {"type": "worker", "index": index}}) for index in (0, 1)]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return train("none", EPOCHS, tmp_path_factory.mktemp("single") / "state.npz")


def assert_same(found: dict, single: dict) -> None:
    np.testing.assert_allclose(found["weights"], single["weights"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["losses"], single["losses"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [2, 3, 16])
def test_a_batch_in_parts_gives_the_same_update(accumulate: int, single: dict, tmp_path: Path):
    assert_same(train("none", EPOCHS, tmp_path / "state.npz", accumulate=accumulate), single)


def test_a_run_goes_on_from_its_state_as_if_never_ended(single: dict, tmp_path: Path):
    whole, checkpoint = train("none", 3, tmp_path / "whole.npz"), tmp_path / "state.npz"
    assert whole["weights"] != single["weights"]
    part = start("none", checkpoint, 3, pause=30)
    for line in part.stdout:
        if line == "epoch 1\n":
            break
    part.kill()
    part.communicate()
    found = train("none", 3, checkpoint)
    assert found["from"] == 1
    assert_same(found, whole)


def test_two_devices_give_the_numbers_of_one(single: dict, tmp_path: Path):
    found = answer(start("mirrored", tmp_path / "state.npz"))
    assert found["replicas"] == 2
    assert_same(found, single)


def test_two_workers_give_the_numbers_of_one(single: dict, tmp_path: Path):
    workers = [
        start("multi_worker", tmp_path / f"{index}.npz", TF_CONFIG=config) for index, config in enumerate(cluster())
    ]
    found = [answer(worker) for worker in workers]
    assert found[0]["replicas"] == 2
    assert found[0]["weights"] == found[1]["weights"]
    assert_same(found[0], single)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_worker_is_killed_the_other_ends_and_both_go_on_from_the_last_epoch(victim: int, tmp_path: Path):
    whole = train("none", 3, tmp_path / "whole.npz")
    files = [tmp_path / "0.npz", tmp_path / "1.npz"]
    workers = [
        start("multi_worker", files[index], 3, pause=5, TF_CONFIG=config) for index, config in enumerate(cluster())
    ]
    for worker in workers:
        for line in worker.stdout:
            if line == "epoch 1\n":
                break
    workers[victim].kill()
    workers[victim].communicate()
    killed = time.monotonic()
    _, err = workers[1 - victim].communicate(timeout=120)
    assert workers[1 - victim].returncode == 2
    assert err.splitlines()[-1].startswith("error: training on several machines stopped: another worker does not")
    assert time.monotonic() - killed < 60  # bounded, not fast
    again = [start("multi_worker", files[index], 3, TF_CONFIG=config) for index, config in enumerate(cluster())]
    found = [answer(worker) for worker in again]
    assert found[0]["from"] == found[1]["from"] == 1
    assert_same(found[0], whole)


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [0, 1])
def test_machines_that_stand_at_different_epochs_all_refuse(ahead: int, tmp_path: Path):
    files = [tmp_path / "0.npz", tmp_path / "1.npz"]
    train("none", 1, files[ahead])
    workers = [start("multi_worker", files[index], 3, TF_CONFIG=config) for index, config in enumerate(cluster())]
    for index, worker in enumerate(workers):
        _, err = worker.communicate(timeout=120)
        behind = int(index == ahead)
        assert worker.returncode == 2
        assert err.splitlines()[-1].startswith(f"error: the machines would go on from different epochs ({behind} are")


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_whose_fellow_never_comes_ends(index: int):
    workers = json.loads(cluster()[0])["cluster"]["worker"]
    with pytest.raises(DistributionError, match=f"after 1 s no word from {workers[1 - index]}"):
        meet(workers, index, 1.0)


def test_workers_that_come_in_any_order_meet():
    workers = [*json.loads(cluster()[0])["cluster"]["worker"], "127.0.0.1:1"]
    with ThreadPoolExecutor() as pool:
        meetings = [pool.submit(meet, workers, index, 30.0) for index in (2, 1, 0)]
    assert [meeting.result() for meeting in meetings] == [None] * 3


@pytest.mark.parametrize("strategy", ["model", "hybrid"])
def test_a_layout_that_splits_nothing_is_refused(strategy: str):
    with pytest.raises(ConfigurationError, match="does not split a model"):
        make_strategy(change(strategy=strategy))


def test_a_layout_set_in_keras_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keras.distribution, "distribution", lambda: keras.distribution.DataParallel)
    with pytest.raises(ConfigurationError, match="does not split a model"):
        make_strategy(HARDWARE)


def test_one_device_is_not_mirrored():
    with pytest.raises(ConfigurationError, match="has one device"):
        make_strategy(change(strategy="mirrored"))


def test_nothing_listens_unless_told():
    environment = {"TF_CONFIG": cluster()[0]}
    assert check_cluster(environment, listen=True)["task"]["index"] == 0
    with pytest.raises(ConfigurationError, match="listens on every interface"):
        check_cluster(environment, listen=False)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "{",
        '{"cluster": {}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"], "ps": ["c:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_cluster_of_another_form_is_refused(config: str | None):
    with pytest.raises(ConfigurationError, match="TF_CONFIG"):
        check_cluster({} if config is None else {"TF_CONFIG": config}, listen=True)


def test_precision(tmp_path: Path):
    assert precision_policy(HARDWARE) == "float32"
    assert precision_policy(change(precision="bfloat16")) == "mixed_bfloat16"
    with pytest.raises(ConfigurationError, match="needs a GPU"):
        precision_policy(change(precision="float16"))


@pytest.mark.parametrize(
    ("flags", "fast"),
    [("fma avx512_bf16 avx2", True), ("avx512_vnni", False), ("amx_bf16", True), ("avx512_bf16x", False)],
)
def test_bfloat16_pays_where_the_cpu_computes_it(flags: str, fast: bool, tmp_path: Path):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert computes_bfloat16([], tmp_path / "cpuinfo") is fast
