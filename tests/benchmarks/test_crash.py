"""What the crash benchmark counts: it must be able to find what it says is not there."""

import json

import pytest

from benchmarks.crash import Found, _count_redone
from benchmarks.victims import Killed


def line(event, at, pid, stage="vote", inputs="a"):
    return {"event": event, "stage": stage, "inputs": inputs, "pid": pid, "at": at}


@pytest.mark.parametrize(
    ("later", "pids", "counted"),
    [  # vote has ended with 0; then a process 9 was killed; then came the lines
        ([line("start", 20, 2)], {9}, ("redone", ["vote"])),
        ([line("start", 20, 2, inputs="b")], {9}, ("redone", [])),
        ([line("start", 20, 2, stage="fuse")], {9}, ("redone", [])),
        ([line("start", 20, 2)], {1, 9}, ("near_misses", 1)),
        ([line("start", 20, 2)], {1, 9}, ("redone", [])),
        ([line("start", 20, 2), line("end", 21, 2), line("start", 22, 3)], {9}, ("redone", ["vote", "vote"])),
    ],
)
def test_a_stage_that_had_finished_and_starts_again_is_found(tmp_path, later, pids, counted):
    path = tmp_path / "journal"
    path.write_text("".join(json.dumps(each) + "\n" for each in [line("start", 1, 1), line("end", 2, 1), *later]))
    found = Found("flow", None, False, 0.0)
    kills = [Killed("flow", frozenset(pids), frozenset(), 10.0), Killed("flow", frozenset({8}), frozenset(), 21.5)]
    _count_redone(found, path, kills)
    counts = {"redone": [said.partition(":")[0] for said in found.redone], "near_misses": found.near_misses}
    assert counts[counted[0]] == counted[1]


def test_a_stage_that_outlived_its_run_and_starts_again_is_found(tmp_path):
    path = tmp_path / "journal"
    path.write_text(
        "".join(json.dumps(line(*each)) + "\n" for each in [("start", 1, 1), ("end", 11, 1), ("start", 12, 2)])
    )
    found = Found("flow", None, False, 0.0)
    _count_redone(found, path, [Killed("flow", frozenset({9}), frozenset({1, 9}), 10.0)])
    assert (found.redone, len(found.survivors), found.near_misses) == ([], 1, 0)


def test_a_stage_whose_end_nobody_can_have_seen_is_a_near_miss(tmp_path):
    path = tmp_path / "journal"
    path.write_text(
        "".join(json.dumps(line(*each)) + "\n" for each in [("start", 1, 1), ("end", 9.999, 1), ("start", 12, 2)])
    )
    found = Found("machine", None, False, 0.0)
    _count_redone(found, path, [Killed("machine", frozenset({9}), frozenset({1, 9}), 10.0)])
    assert (found.redone, found.survivors, found.near_misses) == ([], [], 1)
