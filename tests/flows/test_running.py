"""Stages that are run, joined, adopted, ended: on a real repository of DVC's, without Prefect."""

import errno
import json
import subprocess
import sys
import time
from threading import Thread

import psutil
import pytest

from flows import attempts, supervise
from flows.graph import Contract, Stage, graph_of
from flows.heal import heal
from flows.repository import Outcome, Repository
from flows.running import StageError, _failure, bring_up_to_date, is_worth_telling
from tests.flows.small import DVC, copying, make, status

CLEAN = "Data and pipelines are up to date."


@pytest.fixture
def notes(tmp_path, monkeypatch):
    path = tmp_path / "notes.txt"
    path.touch()
    monkeypatch.setenv("NOTES", str(path))
    return path


def enter(root, monkeypatch):
    monkeypatch.chdir(root)
    repository = Repository()
    with repository.locked() as repo:
        list(heal(repo))
        return repository, graph_of(repo)


def run_all(root, monkeypatch):
    repository, graph = enter(root, monkeypatch)
    said = []
    return [bring_up_to_date(repository, stage, said.append) for stage in graph.values()], said


def test_a_stage_runs_once_and_its_lines_are_told(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt"), "b": copying("a.txt", "b.txt")}, in__txt="x")
    outcomes, said = run_all(root, monkeypatch)
    assert outcomes == [Outcome.STARTED, Outcome.STARTED]
    assert said == ["wrote a.txt", "wrote b.txt"]
    assert status(root) == CLEAN
    assert run_all(root, monkeypatch)[0] == [Outcome.UNCHANGED, Outcome.UNCHANGED]
    assert notes.read_text().split() == ["a.txt", "b.txt"]


def test_the_lock_is_byte_for_byte_that_of_dvc_repro(tmp_path, notes, monkeypatch):
    stages = {
        "z": copying("in.txt", "z.txt", params=["pools"]),
        "a": copying("z.txt", "a.txt"),
        "each": {"foreach": ["u", "v"], "do": copying("a.txt", "${item}.txt")},
        "m": {"matrix": {"x": [1, 2], "y": ["p"]}, **copying("a.txt", "m${item.x}${item.y}.txt")},
        "folder": {"cmd": "mkdir d && cp a.txt d/1 && cp in.txt d/2", "deps": ["a.txt", "in.txt"], "outs": ["d"]},
    }
    ours, theirs = (make(tmp_path / name, stages, in__txt="x") for name in ("ours", "theirs"))
    subprocess.run([DVC, "repro", "-q"], cwd=theirs, check=True)
    run_all(ours, monkeypatch)
    assert (ours / "dvc.lock").read_bytes() == (theirs / "dvc.lock").read_bytes()
    assert set((ours / ".gitignore").read_text().split()) == set((theirs / ".gitignore").read_text().split())


def test_what_was_there_once_comes_back_from_the_run_cache(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt")}, in__txt="x")
    run_all(root, monkeypatch)
    (root / "in.txt").write_text("y")
    run_all(root, monkeypatch)
    (root / "in.txt").write_text("x")
    assert run_all(root, monkeypatch)[0] == [Outcome.RESTORED]
    assert (root / "a.txt").read_text() == "x" and status(root) == CLEAN
    assert notes.read_text().split() == ["a.txt", "a.txt"]


def test_a_changed_dependency_whose_outputs_are_still_right_for_the_old_one_is_not_taken_for_cached(
    tmp_path, notes, monkeypatch
):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt")}, in__txt="x")
    run_all(root, monkeypatch)
    (root / "in.txt").write_text("z")
    assert run_all(root, monkeypatch)[0] == [Outcome.STARTED]
    assert (root / "a.txt").read_text() == "z"


def start_in_another_process(root, wait_for):
    code = (
        "from flows.repository import Repository; from flows.graph import Contract, Stage, graph_of; from flows.running import bring_up_to_date\n"
        "r = Repository()\nwith r.locked() as repo: g = graph_of(repo)\n"
        "[bring_up_to_date(r, s, print) for s in g.values()]"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while wait_for not in (root.parent / "notes.txt").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


def test_a_killed_run_leaves_its_stage_to_the_next_one(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 2")}, in__txt="x")
    start_in_another_process(root, "a.txt").kill()
    outcomes, said = run_all(root, monkeypatch)
    assert outcomes == [Outcome.JOINED] and any("joining it" in line for line in said)
    assert "wrote a.txt" in said
    assert status(root) == CLEAN and notes.read_text().split() == ["a.txt"]


def test_what_had_finished_when_the_run_was_killed_is_kept(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 0.5")}, in__txt="x")
    start_in_another_process(root, "a.txt").kill()
    time.sleep(1.5)
    outcomes, said = run_all(root, monkeypatch)
    assert outcomes == [Outcome.JOINED] and "a run that was ended had finished it" in said
    assert status(root) == CLEAN and notes.read_text().split() == ["a.txt"]


def test_what_had_finished_is_kept_once_nobody_else_is_at_its_output(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 0.5")}, in__txt="x")
    start_in_another_process(root, "a.txt").kill()
    time.sleep(1.5)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(4)", "dvc"]) as other:
        busy = {"write": {str(root / "a.txt"): {"pid": other.pid, "cmd": "dvc checkout"}}, "read": {}}
        (root / ".dvc/tmp/rwlock").write_text(json.dumps(busy))
        Thread(target=other.wait, daemon=True).start()  # DVC takes a process that nobody waits for to live on
        outcomes, said = run_all(root, monkeypatch)
        assert other.poll() is not None
    assert outcomes == [Outcome.JOINED]
    assert said[0] == "a run that was ended had finished it" and said[1].startswith("waiting: ")
    assert status(root) == CLEAN and notes.read_text().split() == ["a.txt"]


def left_before_the_mark(root):
    """A run and, once the command had ended, its supervisor too were killed, before it had left its mark."""
    start_in_another_process(root, "a.txt").kill()
    time.sleep(1.5)
    (folder,) = attempts.all_folders(root)
    (folder / "ended.json").unlink()
    return folder


def test_what_had_ended_when_the_supervisor_was_killed_is_kept(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 0.5")}, in__txt="x")
    left_before_the_mark(root)
    outcomes, said = run_all(root, monkeypatch)
    assert outcomes == [Outcome.JOINED] and "a run that was ended had finished it" in said
    assert status(root) == CLEAN and notes.read_text().split() == ["a.txt"]


@pytest.mark.parametrize("what", ["touched", "gone", "machine down", "not ended"])
def test_what_the_supervisor_had_not_kept_is_done_again_where_it_may_have_changed(tmp_path, notes, monkeypatch, what):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 0.5")}, in__txt="x")
    exited = left_before_the_mark(root) / "exited"
    if what == "touched":
        (root / "a.txt").write_text("by hand")
    elif what == "gone":
        (root / "a.txt").unlink()
    else:
        exited.write_text("another-start " + exited.read_text().split()[1] if what == "machine down" else "")
    assert run_all(root, monkeypatch)[0] == [Outcome.STARTED]
    assert (root / "a.txt").read_text() == "x" and status(root) == CLEAN


def test_outputs_that_were_touched_after_the_kill_are_not_taken_for_the_stages(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 0.5")}, in__txt="x")
    start_in_another_process(root, "a.txt").kill()
    time.sleep(1.5)
    (root / "a.txt").write_text("by hand")
    assert run_all(root, monkeypatch)[0] == [Outcome.STARTED]
    assert (root / "a.txt").read_text() == "x"


def test_a_left_stage_whose_input_was_edited_since_is_ended_and_run_again(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 60")}, in__txt="x")
    start_in_another_process(root, "a.txt").kill()
    attempt = attempts.find(attempts.folder_of("a", root))
    assert attempts.processes_of(attempt)
    text = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(text.replace("sleep 60", "true"))
    outcomes, said = run_all(root, monkeypatch)
    assert outcomes == [Outcome.STARTED] and any("ending that" in line for line in said)
    assert not attempts.processes_of(attempt)


def test_a_killed_supervisor_leaves_no_process_and_no_result(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 1.5")}, in__txt="x")
    process = start_in_another_process(root, "a.txt")
    attempt = attempts.find(attempts.folder_of("a", root))
    psutil.Process(attempts.supervisor_of(attempt)).kill()
    assert process.wait(timeout=30)  # it says so, and fails
    assert not attempts.processes_of(attempt)
    assert run_all(root, monkeypatch)[0] == [Outcome.STARTED]
    assert notes.read_text().split() == ["a.txt", "a.txt"]


def test_two_runs_at_once_do_a_stage_once(tmp_path, notes, monkeypatch):
    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 1.5")}, in__txt="x")
    other = start_in_another_process(root, "a.txt")
    outcomes, said = run_all(root, monkeypatch)
    assert outcomes == [Outcome.UNCHANGED] and said == ["another run is at this stage: waiting for it"]
    assert other.wait(timeout=30) == 0 and notes.read_text().split() == ["a.txt"]


def test_plain_dvc_is_told_that_the_stage_is_busy(tmp_path, notes, monkeypatch):
    root = make(
        tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 4"), "b": copying("in.txt", "b.txt")}, in__txt="x"
    )
    other = start_in_another_process(root, "a.txt")
    refused = subprocess.run([DVC, "repro", "a"], cwd=root, capture_output=True, text=True)
    assert refused.returncode and "is busy" in refused.stderr and "pricecut a" in refused.stderr
    subprocess.run([DVC, "repro", "-q", "b"], cwd=root, check=True)  # another stage goes on
    assert other.wait(timeout=30) == 0
    assert status(root) == CLEAN and sorted(notes.read_text().split()) == ["a.txt", "b.txt"]


def test_an_input_edited_while_the_stage_runs_makes_it_run_again(tmp_path, notes, monkeypatch):
    root = make(
        tmp_path / "p", {"a": copying("in.txt", "a.txt", "sleep 0.2 && cp in.txt seen && sleep 1.2")}, in__txt="x"
    )
    other = start_in_another_process(root, "a.txt")
    time.sleep(0.6)
    (root / "in.txt").write_text("edited")
    assert other.wait(timeout=30) == 0
    assert "in.txt" in status(root)  # plain DVC would record the edited file as what the stage read
    assert run_all(root, monkeypatch)[0] == [Outcome.STARTED] and status(root) == CLEAN


@pytest.mark.parametrize(
    ("command", "meta", "code", "words"),
    [
        ("echo a said: mend me && exit 2", {}, 2, "a said: mend me"),
        ("echo oh && exit 7", {}, 7, "oh"),
        ("sleep 30", {"timeout": 0.5}, 124, "took longer than 0.5 s, its timeout in dvc.yaml"),
        ("kill -9 $$", {}, 1, r"was killed \(SIGKILL\)"),
    ],
)
def test_a_failure_says_what_happened(tmp_path, notes, monkeypatch, command, meta, code, words):
    root = make(
        tmp_path / "p",
        {"a": copying("in.txt", "a.txt", f"({command})" if "kill" not in command else command, meta=meta)},
        in__txt="x",
    )
    repository, graph = enter(root, monkeypatch)
    with pytest.raises(StageError, match=words) as failed:
        bring_up_to_date(repository, graph["a"], [].append)
    assert failed.value.exit_code == code
    assert not (root / "a.txt").exists()
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "30"]]


def test_a_missing_input_is_named(tmp_path, notes, monkeypatch):
    from ledger.errors import DataError

    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt")})
    repository, graph = enter(root, monkeypatch)
    with pytest.raises(DataError, match=r"in\.txt: not found, and 'a' reads it"):
        bring_up_to_date(repository, graph["a"], [].append)


def test_locks_of_the_dead_are_cleared_and_those_of_the_living_kept(tmp_path, notes, monkeypatch):
    import json

    root = make(tmp_path / "p", {"a": copying("in.txt", "a.txt")}, in__txt="x")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])  # lives, and is no process of DVC's
    dvc = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", "dvc"])
    try:
        table = root / ".dvc" / "tmp" / "rwlock"
        table.parent.mkdir(exist_ok=True)
        path = str(root / "a.txt")
        table.write_text(json.dumps({"write": {path: {"pid": other.pid, "cmd": "dvc repro"}}, "read": {}}))
        assert run_all(root, monkeypatch)[0] == [Outcome.STARTED]
        table.write_text(json.dumps({"write": {str(root / "b.txt"): {"pid": dvc.pid, "cmd": "dvc repro"}}, "read": {}}))
        run_all(root, monkeypatch)
        assert json.loads(table.read_text())["write"]
        table.write_text('{"write": {"/a')
        run_all(root, monkeypatch)
        assert json.loads(table.read_text()) in ({}, {"write": {}}, {"read": {}, "write": {}})
    finally:
        other.kill()
        dvc.kill()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("vote: 15 functions on 1209 rows", True),
        ("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR", False),
        ("I0000 00:00:1795560598.063975    5493 cudart_stub.cc:31] Could not find cuda drivers", False),
        ("   ", False),
    ],
)
def test_noise_is_not_told(line, told):
    assert is_worth_telling(line) is told


def test_a_failures_message_is_the_stages_own():
    stage = Stage("benchmarks/dvc.yaml:fuse@small", Contract(), (), ())
    said = ["loading", "fuse small: data/small/records.parquet: every known label is 'good'", "add some"]
    error = _failure(stage, 2, said)
    assert (
        str(error) == "fuse small: data/small/records.parquet: every known label is 'good'\nadd some"
        and error.exit_code == 2
    )
    defect = _failure(stage, 1, ["Traceback", "ZeroDivisionError: x"])
    assert defect.exit_code == 1 and "ZeroDivisionError: x" in str(defect)


@pytest.mark.parametrize(("number", "taken"), [(errno.ENOSPC, False), (errno.EIO, False), (errno.EINVAL, True)])
def test_an_output_that_the_disk_does_not_take_is_not_finished(tmp_path, monkeypatch, capsys, number, taken):
    def refuse(handle):
        raise OSError(number, "as asked")

    (tmp_path / "out").write_text("x")
    monkeypatch.setattr(supervise.os, "fsync", refuse)
    assert supervise.sync([str(tmp_path / "out")]) is taken
    assert ("did not take it (as asked)" in capsys.readouterr().out) is not taken
