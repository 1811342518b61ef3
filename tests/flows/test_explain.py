"""Why a stage would run, on a small project of DVC's in which each reason is brought about."""

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.causes import MISSING, differences
from flows.changes import Verdict, explain
from flows.commands.explain import reasons_table, show_reasons
from ledger.errors import ConfigurationError
from tests.flows.tiny import PIPELINE, make_project, shell

ALL = ("first", "second", "third", "aside")


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A project in which everything has run, twice over: `first.scale` was 3 before it was 2."""
    root = make_project(tmp_path_factory.mktemp("ran"))
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("scale: 2", "scale: 3"))
    shell(root, "dvc repro -q")
    (root / "params.yaml").write_text(text)
    shell(root, "dvc repro -q && git add -A && git commit -qm ran")
    return root


@pytest.fixture
def root(ran, tmp_path, monkeypatch) -> Path:
    """A copy of it to change, and to stand in."""
    shutil.copytree(ran, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def verdicts() -> dict[str, str]:
    return {reason.stage: reason.verdict.value for reason in explain(ALL)}


def causes(stage: str) -> list:
    return list(explain([stage])[-1].causes)


def test_nothing_has_changed(root):
    assert verdicts() == dict.fromkeys(ALL, "keep")
    assert all(reason.causes == () for reason in explain(ALL))


def test_nothing_has_ever_run(tmp_path, monkeypatch):
    monkeypatch.chdir(make_project(tmp_path))
    assert verdicts() == dict.fromkeys(ALL, "run")
    first, second, *_ = explain(ALL)
    assert [cause.kind for cause in first.causes] == ["never run"]
    assert [cause.kind for cause in second.causes] == ["never run", "in question"]
    assert second.causes[1].what == "first"


def test_a_parameter_has_changed_and_what_stands_behind_waits_for_the_result(root):
    edit(root / "params.yaml", "scale: 2", "scale: 5")
    assert verdicts() == {"first": "run", "second": "depends", "third": "depends", "aside": "keep"}
    (cause,) = causes("first")
    assert (cause.kind, cause.what, cause.before, cause.after) == ("parameter", "first.scale", 2, 5)
    assert cause.said == "first.scale: 2 → 5"
    (waits,) = causes("second")
    assert (waits.kind, waits.what, waits.said) == (
        "in question",
        "first",
        "if out/first.txt of first comes out different",
    )


def test_a_parameter_was_like_that_in_an_earlier_run_so_all_comes_from_the_cache(root):
    edit(root / "params.yaml", "scale: 2", "scale: 3")
    assert verdicts() == {"first": "restore", "second": "restore", "third": "restore", "aside": "keep"}
    (moved,) = causes("second")
    assert (moved.kind, moved.said) == ("upstream", "out/first.txt of first has changed")
    assert shell(root, "dvc repro").stdout.count("is cached - skipping run") == 3


def test_a_parameter_was_like_that_but_its_result_is_gone_from_the_cache(root):
    edit(root / "params.yaml", "scale: 2", "scale: 3")
    digest = hashlib.md5(b"6\n").hexdigest()
    (root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).unlink()
    assert verdicts()["first"] == "run"


def test_parameters_come_and_go(root):
    edit(root / "params.yaml", "  seed: 1\n", "  sown: {deep: 1}\n")
    edit(root / "params.yaml", "turned: [1, 2]", "turned: [1, 2, 3]")
    assert [(c.what, c.before, c.after) for c in causes("first")] == [
        ("first.seed", 1, MISSING),
        ("first.sown", MISSING, {"deep": 1}),
    ]
    assert next((c.what, c.before, c.after) for c in causes("second")) == ("second.turned", [1, 2], [1, 2, 3])


def test_a_parameter_that_no_stage_reads_changes_nothing(root):
    edit(root / "params.yaml", "unread: 3", "unread: 4")
    assert set(verdicts().values()) == {"keep"}


def test_code_has_changed_by_commits_and_by_hand(root):
    edit(root / "code/first.py", "import yaml\n", "import yaml  # once\n")
    shell(root, "git commit -qam 'Say it: once'")
    edit(root / "code/first.py", "# once", "# twice")
    shell(root, "git commit -qam 'Say it twice'")
    (cause,) = causes("first")
    assert (cause.kind, cause.what, cause.since.uncommitted) == ("code", "code/first.py", False)
    assert [commit.partition(" ")[2] for commit in cause.since.commits] == ["Say it twice", "Say it: once"]
    edit(root / "code/first.py", "# twice", "# thrice")
    (cause,) = causes("first")
    assert cause.since.uncommitted
    assert cause.said.startswith("code/first.py changed (not committed; ") and "Say it: once" in cause.said


def test_code_went_back_to_what_it_was(root):
    edit(root / "code/first.py", "import yaml\n", "import yaml  # once\n")
    shell(root, "git commit -qam once")
    shell(root, "git revert --no-edit HEAD")
    assert verdicts()["first"] == "keep"


def test_data_has_changed_and_data_is_missing(root):
    (root / "source.csv").write_text("a\nb\nc\n")
    (cause,) = causes("aside")
    assert (cause.kind, cause.what) == ("data", "source.csv")
    assert cause.after == hashlib.md5(b"a\nb\nc\n").hexdigest() and cause.before == hashlib.md5(b"a\nb\n").hexdigest()
    (root / "source.csv").unlink()
    (cause,) = causes("aside")
    assert cause.said == "source.csv is missing: it would fail; bring the file there"
    assert verdicts()["aside"] == "run"


def test_the_command_has_changed(root):
    edit(root / "dvc.yaml", "cp source.csv", "cp -p source.csv")
    (cause,) = causes("aside")
    assert (cause.kind, cause.before, cause.after) == (
        "command",
        "cp source.csv out/aside.csv",
        "cp -p source.csv out/aside.csv",
    )


def test_an_output_is_missing_and_comes_from_the_cache(root):
    (root / "out/first.txt").unlink()
    assert verdicts() == {"first": "restore", "second": "keep", "third": "keep", "aside": "keep"}
    (cause,) = causes("first")
    assert (cause.kind, cause.said) == ("output missing", "out/first.txt is missing")


def test_an_output_is_missing_and_dvc_remembers_no_runs(root):
    shutil.rmtree(root / ".dvc/cache/runs")
    (root / "out/first.txt").unlink()
    assert verdicts()["first"] == "restore"
    assert "is cached - skipping run" in shell(root, "dvc repro first").stdout


def test_an_output_was_edited_by_hand(root):
    (root / "out/second/part.txt").chmod(0o644)
    (root / "out/second/part.txt").write_text("mine\n")
    assert verdicts() == {"first": "keep", "second": "restore", "third": "keep", "aside": "keep"}
    (cause,) = causes("second")
    assert (cause.kind, cause.what) == ("output edited", "out/second")


def test_an_output_is_not_in_the_cache(root):
    shutil.rmtree(root / ".dvc/cache/files/md5" / hashlib.md5(b"4\n").hexdigest()[:2])
    assert [cause.kind for cause in causes("first")] == ["output not in cache"]
    assert verdicts() == {"first": "restore", "second": "restore", "third": "restore", "aside": "keep"}
    assert "first" in shell(root, "dvc status").stdout


def test_dependencies_and_outputs_are_new_in_the_dag(root):
    (root / "extra.csv").write_text("x\n")
    edit(root / "dvc.yaml", "deps: [source.csv]", "deps: [source.csv, extra.csv]")
    edit(root / "dvc.yaml", "outs: [out/aside.csv]", "outs: [out/aside.csv, out/more.csv]")
    assert [(cause.kind, cause.said) for cause in causes("aside")] == [
        ("data", "extra.csv is new among its dependencies"),
        ("output new", "out/more.csv is new among its outputs"),
    ]


def test_stages_that_always_run_and_that_never_do(root):
    edit(root / "dvc.yaml", "  aside:\n", "  aside:\n    always_changed: true\n")
    edit(root / "dvc.yaml", "  third:\n", "  third:\n    frozen: true\n")
    edit(root / "params.yaml", "scale: 2", "scale: 5")
    assert verdicts() == {"first": "run", "second": "depends", "third": "keep", "aside": "run"}
    assert [cause.kind for cause in causes("aside")] == ["always"]
    assert [cause.kind for cause in causes("third")] == ["frozen"]


def test_another_pipelines_stage_and_another_parameters_file(root):
    (root / "other").mkdir()
    (root / "other/turns.yaml").write_text("a: {b: 1}\n")
    (root / "other/dvc.yaml").write_text(
        "stages:\n  last:\n    cmd: cp ../out/aside.csv end.csv\n    deps: [../out/aside.csv]\n"
        "    params: [{turns.yaml: [a]}]\n    outs: [end.csv]\n"
    )
    shell(root, "dvc repro -q other/dvc.yaml")
    (root / "other/turns.yaml").write_text("a: {b: 2}\n")
    reason = explain(["other/dvc.yaml:last"])[-1]
    assert [(c.what, c.before, c.after) for c in reason.causes] == [("other/turns.yaml: a.b", 1, 2)]


def snapshot(root: Path) -> dict[str, tuple]:
    return {
        str(path.relative_to(root)): (path.lstat().st_mtime_ns, path.lstat().st_mode, path.lstat().st_size)
        for path in root.rglob("*")
    }


def test_it_agrees_with_dvc_and_writes_nothing(root):
    edit(root / "params.yaml", "scale: 2", "scale: 7")
    (root / "out/aside.csv").unlink()
    before = snapshot(root)
    reasons = explain(ALL)
    assert snapshot(root) == before
    changed = set(json.loads(shell(root, "dvc status --json").stdout))
    assert changed == {r.stage for r in reasons if r.verdict in (Verdict.RUN, Verdict.RESTORE)}
    ran_by_dvc = shell(root, "dvc repro").stdout
    for reason in reasons:
        assert (f"Running stage '{reason.stage}'" in ran_by_dvc) == (reason.verdict in (Verdict.RUN, Verdict.DEPENDS))


def test_a_corrupted_entry_of_the_run_cache_is_left_where_it_is(root):
    edit(root / "params.yaml", "scale: 2", "scale: 3")
    for entry in (root / ".dvc/cache/runs").glob("*/*/*"):
        entry.write_text("{")
    before = snapshot(root)
    assert verdicts()["first"] == "run"
    assert snapshot(root) == before


def test_a_fresh_clone_that_cannot_be_written_to(root, tmp_path):
    shell(tmp_path, "git clone -q project clone")
    clone = tmp_path / "clone"
    command = "from flows.changes import explain; print([r.verdict.value for r in explain(['first', 'aside'])])"
    frozen = "mount --bind . . && mount -o remount,ro,bind . && cd ../clone && ! touch here 2>/dev/null"
    if shell(clone, f"unshare -rm sh -c '{frozen}'", check=False).returncode:
        pytest.skip("no mount namespace to be had")
    done = shell(clone, f"""unshare -rm sh -c '{frozen} && python -c "$1"' sh "{command}" """)
    assert done.stdout.strip() == "['run', 'run']"
    assert not (clone / ".dvc/tmp").exists()


def test_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="no DVC repository"):
        explain(["first"])


def test_the_table_and_the_json(root, capsys):
    edit(root / "params.yaml", "scale: 2", "scale: 5")
    table = reasons_table(explain(ALL))
    assert table.title == "of 4 stages would 1 run, 2 perhaps run, 1 stay"
    show_reasons(ALL, as_json=True)
    first, second, _, aside = json.loads(capsys.readouterr().out)
    assert first["verdict"] == "run" and first["causes"][0]["what"] == "first.scale"
    assert second["verdict"] == "depends" and aside == {"stage": "aside", "verdict": "keep", "causes": []}
    show_reasons(ALL, as_json=False)
    shown = capsys.readouterr().out
    assert "first.scale: 2 → 5" in shown and "if what it reads of first comes out different" in shown


def test_the_command_says_it_of_all_that_a_target_needs(root):
    edit(root / "params.yaml", "scale: 2", "scale: 5")
    before = snapshot(root)
    done = shell(root, "python -m flows.command run --explain --json second")
    assert [(r["stage"], r["verdict"]) for r in json.loads(done.stdout)] == [("first", "run"), ("second", "depends")]
    assert "4 stages would 1 run" in shell(root, "python -m flows.command run --explain").stdout
    assert snapshot(root) == before
    refused = shell(root, "python -m flows.command run --explain nothing", check=False)
    assert refused.returncode == 2 and "'nothing' is no app" in refused.stderr


def test_it_is_fast_on_many_stages(tmp_path, monkeypatch):
    root = make_project(tmp_path)
    more = "".join(
        f"  s{i}:\n    cmd: echo {i} > out/s{i}.txt\n    deps: [source.csv]\n    params: [first]\n    outs: [out/s{i}.txt]\n"
        for i in range(26)
    )
    (root / "dvc.yaml").write_text(PIPELINE + more)
    monkeypatch.chdir(root)
    explain(["s0"])  # imports
    start = time.perf_counter()
    assert len(explain([f"s{i}" for i in range(26)])) == 26
    assert time.perf_counter() - start < 2


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values, values)
def test_two_values_differ_at_a_leaf_if_and_only_if_they_differ(before, after):
    assert bool(differences(before, after, "p")) == (before != after)
    assert differences(before, before, "p") == []
