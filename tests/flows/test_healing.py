"""What a run makes of what has gone wrong: an error that says what to do, nothing lost, and the next run mends it."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from flows import attempts, redaction
from flows.graph import graph_of
from flows.heal import heal
from flows.objects import ASIDE
from flows.repository import Outcome, Repository
from flows.running import StageError, bring_up_to_date
from ledger.errors import DataError
from tests.flows.small import DVC, copying, make, status
from tests.flows.test_faults import cached, corrupt, small_disk

CLEAN = "Data and pipelines are up to date."
STAGES = {"a": copying("in.txt", "a.txt"), "b": copying("a.txt", "b.txt")}
DIGEST = hashlib.md5(b"x").hexdigest()


@pytest.fixture
def notes(tmp_path, monkeypatch) -> Path:
    """Which stages' commands have run."""
    path = tmp_path / "notes.txt"
    path.touch()
    monkeypatch.setenv("NOTES", str(path))
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A project in which both stages have run."""
    root = make(tmp_path_factory.mktemp("ran") / "project", STAGES, in__txt="x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTES", str(root.parent / "notes.txt"))
        patch.chdir(root)
        assert run()[0] == [Outcome.STARTED] * 2
    return root


@pytest.fixture
def root(ran, tmp_path, notes, monkeypatch) -> Path:
    """A copy of it to change, and to stand in."""
    root = Path(shutil.copytree(ran, tmp_path / "project", symlinks=True))
    monkeypatch.chdir(root)
    return root


def run() -> tuple[list[Outcome], list[str]]:
    """Run all stages, as a new run does, and return what became of each, and what was said."""
    repository, said = Repository(), list[str]()
    with repository.locked() as repo:
        said += heal(repo)
        graph = graph_of(repo)
    return [bring_up_to_date(repository, stage, said.append) for stage in graph.values()], said


def test_a_corrupted_object_is_not_brought_back_but_made_anew(root, notes):
    corrupt(cached(root, DIGEST), b"y")
    (root / "a.txt").unlink()
    outcomes, said = run()
    assert outcomes == [Outcome.STARTED, Outcome.UNCHANGED] and notes.read_text().split() == ["a.txt"]
    assert any("was corrupted" in line for line in said) and (root / ASIDE / DIGEST).read_text() == "y"
    assert (root / "a.txt").read_text() == "x" == cached(root, DIGEST).read_text() and status(root) == CLEAN


def test_a_corrupted_object_is_fetched_where_a_remote_has_it(root, notes):
    subprocess.run([DVC, "remote", "add", "-q", "-d", "store", "../store"], check=True)
    subprocess.run([DVC, "push", "-q"], check=True)
    corrupt(cached(root, DIGEST), b"y")
    (root / "a.txt").unlink()
    outcomes, _ = run()
    assert outcomes == [Outcome.RESTORED, Outcome.UNCHANGED] and notes.read_text() == ""
    assert (root / "a.txt").read_text() == "x" and status(root) == CLEAN


def test_a_cache_that_was_lost_is_filled_from_the_workspace(root, notes):
    shutil.rmtree(root / ".dvc/cache")
    assert run()[0] == [Outcome.UNCHANGED] * 2 and notes.read_text() == ""
    assert cached(root, DIGEST).read_text() == "x" and status(root) == CLEAN


def test_a_cache_and_an_output_that_were_lost(root, notes):
    shutil.rmtree(root / ".dvc/cache")
    (root / "a.txt").unlink()
    assert run()[0] == [Outcome.STARTED, Outcome.UNCHANGED] and notes.read_text().split() == ["a.txt"]
    assert status(root) == CLEAN


def test_an_output_that_was_edited_is_not_taken_for_the_stages(root, notes):
    (root / "a.txt").write_text("mine")
    shutil.rmtree(root / ".dvc/cache")
    assert run()[0] == [Outcome.STARTED, Outcome.UNCHANGED] and (root / "a.txt").read_text() == "x"


def test_a_corrupted_object_does_not_stand_in_the_way_of_a_result_with_the_same_bytes(root, notes):
    corrupt(cached(root, DIGEST), b"y")
    (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text().replace("true &&", "true && true &&", 1))
    outcomes, _ = run()
    assert outcomes[0] is Outcome.STARTED and cached(root, DIGEST).read_text() == "x" and status(root) == CLEAN


def test_a_full_disk_under_the_cache_costs_no_work(root, notes):
    big = "head -c 2000000 /dev/zero > big.bin; echo big >> $NOTES"
    with (root / "dvc.yaml").open("a") as stream:
        stream.write(f"  big:\n    cmd: '{big}'\n    deps: [in.txt]\n    outs: [big.bin]\n")
    lock = (root / "dvc.lock").read_bytes()
    shutil.move(root / ".dvc/cache", root / ".dvc/kept")
    with small_disk(root / ".dvc/cache"):
        shutil.copytree(root / ".dvc/kept", root / ".dvc/cache", dirs_exist_ok=True)
        with pytest.raises(DataError, match=r"big\.bin: .*(cache|disk is full)"):
            run()
        assert (root / "dvc.lock").read_bytes() == lock
    shutil.rmtree(root / ".dvc/cache", ignore_errors=True)
    shutil.move(root / ".dvc/kept", root / ".dvc/cache")
    outcomes, _ = run()
    assert notes.read_text().split() == ["big"], "what it had done was kept"
    assert Outcome.JOINED in outcomes and status(root) == CLEAN


def test_a_cache_that_cannot_be_written_to(root, notes):
    (root / "in.txt").write_text("z")
    command = f"mount --bind {root}/.dvc/cache {root}/.dvc/cache && mount -o remount,ro,bind {root}/.dvc/cache"
    if subprocess.run(["sh", "-c", command], capture_output=True).returncode:
        pytest.skip("no right to mount a disk")
    try:
        with pytest.raises(DataError, match=r"mounted read-only|could not be copied"):
            run()
    finally:
        subprocess.run(["umount", "-l", f"{root}/.dvc/cache"], check=True)
    run()
    assert notes.read_text().split() == ["a.txt", "b.txt"], "the work was kept"
    assert (root / "b.txt").read_text() == "z" and status(root) == CLEAN


def test_a_stage_that_says_that_the_disk_is_full_is_for_a_person_to_mend(root, notes, monkeypatch):
    with small_disk(root / "small", "64k"):
        command = "head -c 200000 /dev/zero > small/x"
        (root / "dvc.yaml").write_text(f"stages:\n  a:\n    cmd: {command}\n    deps: [in.txt]\n    outs: [a.txt]\n")
        with pytest.raises(StageError, match="the disk is full; free some space") as failed:
            run()
    assert failed.value.exit_code == 2


def test_a_disk_so_full_that_nothing_can_be_said(tmp_path, notes, monkeypatch):
    with small_disk(tmp_path / "disk", "3m"):
        big = {"cmd": "head -c 9000000 /dev/zero > big.bin", "deps": ["a.txt"], "outs": ["big.bin"]}
        root = make(tmp_path / "disk/project", {"a": copying("in.txt", "a.txt"), "big": big}, in__txt="x")
        monkeypatch.chdir(root)
        with pytest.raises(StageError, match="the disk is full; free some space") as failed:
            run()
        assert failed.value.exit_code == 2
        subprocess.run(["mount", "-o", "remount,size=40m", tmp_path / "disk"], check=True)
        assert run()[0] == [Outcome.UNCHANGED, Outcome.STARTED] and status(root) == CLEAN
        monkeypatch.chdir(tmp_path)


def test_a_lock_that_was_cut_off_is_mended_without_computing(root, notes):
    whole = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(whole[: whole.index("  b:") + 10])
    outcomes, _ = run()
    assert outcomes == [Outcome.UNCHANGED, Outcome.RESTORED] and notes.read_text() == ""
    assert (root / "dvc.lock").read_text() == whole and status(root) == CLEAN
    assert (root / ".pricecut/set_aside/root.dvc.lock").read_text() == whole[: whole.index("  b:") + 10]


@pytest.mark.parametrize("left", ["", "sche", "schema: '2.0'\nstages:\n  a:\n    cmd: 'echo"])
def test_a_lock_of_which_nothing_is_left(root, notes, left):
    whole = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(left)
    outcomes, _ = run()
    assert outcomes == [Outcome.RESTORED] * 2 and notes.read_text() == ""
    assert (root / "dvc.lock").read_text() == whole


def test_a_lock_with_conflict_marks_is_for_a_person(root):
    whole = (root / "dvc.lock").read_text()
    conflict = whole.replace("  b:", "<<<<<<< HEAD\n  b:", 1) + "=======\n>>>>>>> other\n"
    (root / "dvc.lock").write_text(conflict)
    with pytest.raises(DataError, match=r"dvc\.lock") as refused:
        run()
    assert (root / "dvc.lock").read_text() == conflict and refused.value.exit_code == 2


@pytest.mark.parametrize("left", ["", '{"wri', "[]", '{"write": {"x": 3}}'])
def test_a_table_of_busy_files_that_was_cut_off(root, left):
    (root / ".dvc/tmp/rwlock").write_text(left)
    (root / "a.txt").unlink()
    outcomes, _ = run()
    assert outcomes == [Outcome.RESTORED, Outcome.UNCHANGED] and status(root) == CLEAN


@pytest.mark.parametrize("what", ["no database", "cut off"])
def test_a_damaged_database_of_hashes(root, what, caplog):
    from dvc.repo import Repo

    with Repo() as repo:
        database = Path(repo.site_cache_dir) / "hashes/local/cache.db"
    if what == "no database":
        database.write_bytes(b"garbage " * 2000)
    else:
        with database.open("r+b") as stream:
            stream.truncate(database.stat().st_size // 2)
    for companion in database.parent.glob("cache.db-*"):
        companion.unlink()
    outcomes, _ = run()
    assert outcomes == [Outcome.UNCHANGED] * 2 and "hashed anew" in caplog.text and status(root) == CLEAN


def test_an_output_whose_time_its_command_sets_is_hashed_anew(root, notes):
    (root / "dvc.yaml").write_text(
        "stages:\n  a:\n    cmd: cp in.txt a.txt && touch -d 2020-01-01 a.txt\n    deps: [in.txt]\n    outs: [a.txt]\n"
    )
    run()
    for text in ("y", "z", "x"):
        (root / "in.txt").write_text(text)
        run()
        lock = (root / "dvc.lock").read_text()
        assert hashlib.md5(text.encode()).hexdigest() in lock[lock.index("outs:") :]
        assert cached(root, hashlib.md5(text.encode()).hexdigest()).read_text() == text


def test_a_clock_that_goes_back_between_two_runs(root, notes):
    for path in [*root.glob("*.txt"), root / "dvc.lock", root / "dvc.yaml", *(root / ".dvc").rglob("*")]:
        if path.is_file():
            os.utime(path, (4e9, 4e9))  # in the year 2096
    assert run()[0] == [Outcome.UNCHANGED] * 2
    (root / "in.txt").write_text("y")
    assert run()[0] == [Outcome.STARTED] * 2
    (root / "in.txt").write_text("x")
    assert run()[0] == [Outcome.RESTORED] * 2 and status(root) == CLEAN


def test_secrets_that_a_stage_says_are_hidden(root, notes, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-of-nobody-123")
    redaction._redactor_of.cache_clear()
    (root / "dvc.yaml").write_text(
        "stages:\n  a:\n    cmd: 'echo with $SOME_API_KEY; cp in.txt a.txt; echo $MORE; false'\n    deps: [in.txt]\n    outs: [a.txt]\n"
    )
    logs: list[str] = []
    monkeypatch.setattr(
        attempts,
        "forget",
        lambda folder: logs.append((folder / "log.txt").read_text()) if (folder / "log.txt").exists() else None,
    )
    repository, said = Repository(), list[str]()
    with repository.locked() as repo:
        graph = graph_of(repo)
    with pytest.raises(StageError) as failed:
        bring_up_to_date(repository, graph["a"], said.append)
    redaction._redactor_of.cache_clear()
    assert said[0] == "with ***" and "with ***" in str(failed.value) and logs[-1].startswith("with ***\n")
    everything = json.dumps([said, str(failed.value), logs]) + (root / "dvc.lock").read_text()
    assert "sk-of-nobody-123" not in everything


def test_what_a_killed_run_left_half_written_in_the_cache_is_cleared_away(root, notes):
    half = cached(root, DIGEST).with_name(".n0tD0ne.tmp")
    half.write_bytes(b"x" * 1000)
    folder = attempts.folder_of("killed", root)
    folder.mkdir(parents=True)
    (folder / "attempt.json").write_text("{}")
    run()
    assert not half.exists() and cached(root, DIGEST).read_text() == "x" and notes.read_text() == ""
