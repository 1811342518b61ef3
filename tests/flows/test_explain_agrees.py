"""What `run --explain` says before a run is what the run then does, whatever was edited, removed or lost."""

import hashlib
import os
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.changes import Verdict, explain
from flows.graph import graph_of
from flows.repository import Outcome, Repository
from flows.running import bring_up_to_date
from tests.flows.small import copying, make, status

STAGES = {
    "first": copying(
        "in.txt", "a.txt", first='echo "$(sed -n s/turned://p params.yaml)" > /dev/null', params=["turned"]
    ),
    "second": copying("a.txt", "b.txt"),
    "third": {
        "cmd": "echo third >> $NOTES; mkdir d && cp b.txt d/1 && cp side.txt d/2",
        "deps": ["b.txt", "side.txt"],
        "outs": ["d"],
    },
    "last": copying("d/1", "e.txt"),
}
AGREES = {
    Verdict.RUN: {Outcome.STARTED, Outcome.RESTORED},  # brought back only where a stage before it was in question
    Verdict.RESTORE: {Outcome.RESTORED, Outcome.UNCHANGED},  # unchanged: put back into the cache from the workspace
    Verdict.KEEP: {Outcome.UNCHANGED},
    Verdict.DEPENDS: {Outcome.STARTED, Outcome.RESTORED, Outcome.UNCHANGED},
}


def write(name: str, text: str):
    return lambda: Path(name).write_text(text)


def turn(value: int):
    def edit():
        document = yaml.safe_load(Path("params.yaml").read_text())
        Path("params.yaml").write_text(yaml.safe_dump(document | {"turned": value}))

    return edit


def lose(digest: str):
    return lambda: Path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}").unlink(missing_ok=True)


def remove(name: str):
    return lambda: shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink(missing_ok=True)


def new_command():
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text().replace("echo b.txt", "echo  b.txt"))


EDITS = {
    "in y": write("in.txt", "y"),
    "in x": write("in.txt", "x"),
    "side y": write("side.txt", "y"),
    "turned 2": turn(2),
    "turned 1": turn(1),
    "a by hand": write("a.txt", "by hand"),
    "b by hand": write("b.txt", "by hand"),
    "b as it would be": write("b.txt", "y"),
    "a removed": remove("a.txt"),
    "d removed": remove("d"),
    "a file of d removed": remove("d/1"),
    "e removed": remove("e.txt"),
    "object of x lost": lose(hashlib.md5(b"x").hexdigest()),
    "object of y lost": lose(hashlib.md5(b"y").hexdigest()),
    "runs forgotten": remove(".dvc/cache/runs"),
    "cache lost": remove(".dvc/cache"),
    "command of second": new_command,
    "lock lost": remove("dvc.lock"),
}


def run() -> dict[str, Outcome]:
    repository = Repository()
    with repository.locked() as repo:
        graph = graph_of(repo)
    return {address: bring_up_to_date(repository, stage, lambda _: None) for address, stage in graph.items()}


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A project that has run with `in.txt` as it is, and before with another."""
    root = make(tmp_path_factory.mktemp("agrees") / "project", STAGES, in__txt="y", side__txt="x")
    os.environ["NOTES"] = os.devnull
    with chdir(root):
        turn(1)()
        run()
        Path("in.txt").write_text("x")
        run()
    return root


def check(ran: Path, rounds: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(ran, Path(folder) / "project", symlinks=True))
        with chdir(root):
            for edits in rounds:
                for edit in edits:
                    EDITS[edit]()
                said = {reason.stage: reason for reason in explain(list(STAGES))}
                did = run()
                for stage, outcome in did.items():
                    assert outcome in AGREES[said[stage].verdict], (edits, stage, outcome, said[stage])
                    # What a stage puts back into a cache that was lost may be what another's outputs are too.
                    sure = not any("lost" in edit for edit in edits) and not any(
                        cause.kind == "in question" for cause in said[stage].causes
                    )
                    if sure and said[stage].verdict is Verdict.RUN:
                        assert outcome is Outcome.STARTED, (edits, stage, outcome, said[stage])
                assert status(root) == "Data and pipelines are up to date."


rounds = st.lists(st.lists(st.sampled_from(sorted(EDITS)), min_size=1, max_size=4), min_size=1, max_size=2)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds)
def test_a_run_does_what_was_said(ran, rounds):
    check(ran, rounds)


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds)
def test_a_run_does_what_was_said_many_times(ran, rounds):
    check(ran, rounds)
