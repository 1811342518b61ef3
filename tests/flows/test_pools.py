import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.pools import Pools, read_pools
from ledger.errors import ConfigurationError


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["cpu", "train", "latency"]), min_size=1, max_size=12))
def test_no_pool_is_overfull_and_latency_is_alone(stages):
    pools, running, seen, guard = Pools({"cpu": 2, "train": 1}), [], [], threading.Lock()

    def work(pool):
        with pools.place(pool):
            with guard:
                running.append(pool)
                seen.append(sorted(running))
            time.sleep(0.001)
            with guard:
                running.remove(pool)

    threads = [threading.Thread(target=work, args=(pool,)) for pool in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert len(seen) == len(stages)
    for moment in seen:
        assert moment.count("cpu") <= 2 and moment.count("train") <= 1
        assert "latency" not in moment or moment == ["latency"]


def test_a_pool_without_a_size():
    with pytest.raises(
        ConfigurationError, match=r"stage 'teach@x' names the pool 'gpu'; expected 'latency' or one of .*: cpu"
    ):
        Pools({"cpu": 2}).check("teach@x", "gpu")


@pytest.mark.parametrize(
    ("text", "message"),
    [("apps: {}", "expected a section 'pools:'"), ("pools:\n  cpu: 0", r"params\.yaml:2: pools\.cpu: .*got 0")],
)
def test_sizes_that_are_none(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_pools()
