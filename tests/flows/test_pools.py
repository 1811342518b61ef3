from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.graph import Contract, Stage
from flows.pools import check_pool, has_place, read_pools, slots_of
from ledger.errors import ConfigurationError

SIZES = {"cpu": 2, "train": 1}


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["cpu", "train", "latency"])), max_size=60))
def test_no_pool_is_overfull_and_latency_is_alone(moves):
    running = Counter()
    for starts, pool in moves:
        if starts and has_place(pool, running, SIZES):
            running[pool] += 1
        elif not starts and running[pool]:
            running[pool] -= 1
        assert running["cpu"] <= 2 and running["train"] <= 1
        assert not running["latency"] or running.total() == 1
        assert running.total() or all(has_place(p, running, SIZES) for p in ("cpu", "train", "latency"))


def test_who_runs_alone_takes_every_place():
    assert slots_of("latency", SIZES) == SIZES and slots_of("cpu", SIZES) == {"cpu": 1}


def test_a_pool_without_a_size():
    stage = Stage("teach@x", Contract(pool="gpu"), (), ())
    with pytest.raises(
        ConfigurationError, match=r"stage 'teach@x' names the pool 'gpu'; expected 'latency' or one of .*: cpu, train"
    ):
        check_pool(stage, SIZES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apps: {}\n", "section 'pools:'"),
        ("pools: {cpu: 0}\n", r"params\.yaml:1: pools\.cpu"),
        ("pools: {cpu: many}\n", "pools.cpu"),
    ],
)
def test_sizes_are_whole_numbers_from_one(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_pools()
