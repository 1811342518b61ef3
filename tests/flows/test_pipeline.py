"""The flow on a real server: pools that two runs share, places of the dead, priorities, retries, and what the server shows."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.flows.servers import server as started
from tests.flows.servers import wait_until
from tests.flows.small import make, status

PRICECUT = Path(sys.prefix) / "bin" / "pricecut"
CLEAN = "Data and pipelines are up to date."


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with started(tmp_path_factory.mktemp("server")) as settings:
        yield settings


def noting(name: str, seconds: float = 0.0, before: str = "true", **more) -> dict:
    """Return a stage that notes when it starts and ends."""
    note = f"echo {name} $(date +%s.%N) >> $NOTES"
    return {
        "cmd": f"{note} && {before} && sleep {seconds} && cp in.txt {name} && {note}",
        "deps": ["in.txt"],
        "outs": [name],
        **more,
    }


def start(root: Path, server: dict, notes: Path, *targets: str) -> subprocess.Popen:
    return subprocess.Popen(
        [PRICECUT, "run", *targets],
        cwd=root,
        env=os.environ | server | {"NOTES": str(notes)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(root: Path, server: dict, notes: Path, *targets: str) -> str:
    process = start(root, server, notes, *targets)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def spans(notes: Path) -> dict[str, tuple[float, float]]:
    """Return when each stage started and ended."""
    times: dict[str, list[float]] = {}
    for line in notes.read_text().splitlines():
        name, at = line.split()
        times.setdefault(name, []).append(float(at))
    return {name: (found[0], found[-1]) for name, found in times.items()}


def test_two_runs_of_a_server_share_a_pool(tmp_path, server):
    notes = tmp_path / "notes"
    pools = {"shared": 1}
    roots = [
        make(
            tmp_path / who,
            {f"{who}{i}": noting(f"{who}{i}", 0.7, meta={"pool": "shared"}) for i in range(2)},
            pools,
            in__txt="x",
        )
        for who in "ab"
    ]
    runs = [start(root, server, notes) for root in roots]
    for each in runs:
        said, _ = each.communicate(timeout=120)
        assert each.returncode == 0, said
    found = sorted(spans(notes).values())
    assert len(found) == 4
    for (_, end), (begin, _) in itertools.pairwise(found):
        assert begin >= end  # never two at once
    assert all(status(root) == CLEAN for root in roots)


def test_places_of_a_killed_run_are_given_back_at_the_next_start(tmp_path, server):
    notes = tmp_path / "notes"
    root = make(tmp_path / "p", {"long": noting("long", 3, meta={"pool": "one"})}, {"one": 1}, in__txt="x")
    killed = start(root, server, notes)
    wait_until(notes.exists, 60, "the stage starts")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    url = f"{server['PREFECT_API_URL']}/v2/concurrency_limits/pricecut-one"
    assert httpx.get(url).json()["active_slots"] == 1
    started_at = time.monotonic()
    assert "Joined" in run(root, server, notes)
    assert time.monotonic() - started_at < 40  # a lease lasts 60 s
    wait_until(lambda: httpx.get(url).json()["active_slots"] == 0, 10, "the place is free")
    assert len(spans(notes)) == 1 and notes.read_text().count("long") == 2


def test_the_highest_priority_goes_first_and_who_runs_alone_is_alone(tmp_path, server):
    notes = tmp_path / "notes"
    stages = {
        "low": noting("low", 0.2, meta={"pool": "few", "priority": -1}),
        "high": noting("high", 0.2, meta={"pool": "few", "priority": 5}),
        "plain": noting("plain", 0.2, meta={"pool": "few"}),
        "timed": noting("timed", 0.2, meta={"pool": "latency"}),
    }
    run(make(tmp_path / "p", stages, {"few": 1, "more": 3}, in__txt="x"), server, notes)
    order = sorted(spans(notes), key=lambda name: spans(notes)[name])
    assert order.index("high") < order.index("plain") < order.index("low")
    begin, end = spans(notes)["timed"]
    assert all(other[1] <= begin or other[0] >= end for name, other in spans(notes).items() if name != "timed")


def test_a_stage_is_tried_again_unless_a_person_has_to_mend_it(tmp_path, server):
    notes, count = tmp_path / "notes", tmp_path / "count"
    flaky = f"echo x >> {count} && test $(wc -l < {count}) -ge 3"
    root = make(tmp_path / "p", {"a": noting("a", before=flaky, meta={"retries": 2, "retry_delay": 0.1})}, in__txt="x")
    run(root, server, notes)
    assert count.read_text().split() == ["x"] * 3 and status(root) == CLEAN

    count.unlink()
    mend = f"echo x >> {count} && echo 'b said: mend me' && exit 2; true"
    root = make(tmp_path / "q", {"b": noting("b", before=mend, meta={"retries": 2})}, in__txt="x")
    refused = start(root, server, notes)
    said, _ = refused.communicate(timeout=120)
    assert refused.returncode == 2 and "b said: mend me" in said and count.read_text().split() == ["x"]


def test_what_does_not_need_the_failed_stage_is_done_all_the_same(tmp_path, server):
    stages = {
        "bad": noting("bad", before="false"),
        "after": {"cmd": "cp bad after", "deps": ["bad"], "outs": ["after"]},
        "good": noting("good", 0.3),
    }
    root = make(tmp_path / "p", stages, in__txt="x")
    failed = start(root, server, tmp_path / "notes")
    said, _ = failed.communicate(timeout=120)
    assert failed.returncode == 1 and "after: not run, as a stage that it needs has failed" in said
    assert (root / "good").exists() and not (root / "after").exists()


def test_ctrl_c_ends_every_process_and_the_next_run_goes_on(tmp_path, server):
    import psutil

    notes = tmp_path / "notes"
    root = make(
        tmp_path / "p", {"a": noting("a", 0.1), "b": noting("b", 300, meta={"priority": -1})}, {"cpu": 1}, in__txt="x"
    )
    process = start(root, server, notes)
    wait_until(lambda: notes.exists() and "b" in notes.read_text(), 60, "the second stage starts")
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=40)
    assert not [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("NOTES") == str(notes)]
    (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text().replace("sleep 300", "sleep 0"))
    run(root, server, notes)
    assert notes.read_text().count("a ") == 2 and status(root) == CLEAN


def test_experiments_and_the_queue_work_on_the_same_stages(tmp_path, server):
    from tests.flows.small import DVC

    root = make(tmp_path / "p", {"a": {"cmd": "cp params.yaml a.txt", "params": ["pools"], "outs": ["a.txt"]}})
    run(root, server, tmp_path / "notes")
    for command in (["git", "add", "-A"], ["git", "commit", "-q", "-m", "ran"]):
        subprocess.run(command, cwd=root, check=True)
    # The queue starts `dvc` by its name.
    path = f"{DVC.parent}{os.pathsep}{os.environ['PATH']}"
    quiet = os.environ | {"DVC_NO_ANALYTICS": "1", "HOME": str(tmp_path), "PATH": path}
    subprocess.run([DVC, "exp", "run", "-q", "-S", "pools.cpu=7"], cwd=root, check=True, env=quiet)
    assert "cpu: 7" in (root / "a.txt").read_text()
    subprocess.run(["git", "checkout", "-q", "."], cwd=root, check=True)
    said = run(root, server, tmp_path / "notes")
    assert "restored" in said  # what the experiment replaced comes back from the run-cache
    subprocess.run([DVC, "exp", "run", "-q", "--queue", "-S", "pools.cpu=8"], cwd=root, check=True, env=quiet)
    subprocess.run([DVC, "exp", "run", "-q", "--run-all"], cwd=root, check=True, env=quiet, timeout=120)
    shown = subprocess.run(
        [DVC, "exp", "show", "--csv"], cwd=root, check=True, capture_output=True, text=True, env=quiet
    )
    assert ",8" in shown.stdout
