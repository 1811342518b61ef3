import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flows.exchange import Item, Recipe, bring, difference, digest_of, push, read_recipe, written_by
from ledger.errors import ConfigurationError, DataError

DAG = """\
stages:
  made:
    cmd: python -c "from pathlib import Path; Path('many').mkdir(); [Path('many', str(n)).write_text(str(n)) for n in (1, 2)]"
    deps: [given.csv, code]
    params: [word]
    outs: [many]
  reads:
    cmd: python -c "from pathlib import Path; Path('last').write_text('x')"
    deps: [many/1, given.csv]
    outs: [last]
  hidden:
    cmd: echo x > hidden
    outs: [{hidden: {cache: false}}]
  shown:
    cmd: cat hidden > shown
    deps: [hidden]
    outs: [shown]
"""


def run(folder, *command):
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"  # Debian has no `python` of its own
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A repository whose stages have run, and its remote; tests work in clones of it."""
    folder = tmp_path_factory.mktemp("exchange")
    root = folder / "made"
    (root / "code").mkdir(parents=True)
    (root / "code" / "a.py").write_text("a = 1\n")
    (root / "given.csv").write_text("1,2\n")
    (root / "params.yaml").write_text("word: {a: 1}\n")
    (root / "dvc.yaml").write_text(DAG)
    run(root, "dvc", "init", "-q", "--no-scm")
    run(root, "dvc", "remote", "add", "-q", "-d", "shared", str(folder / "remote"))
    run(root, "dvc", "add", "-q", "given.csv")
    run(root, "dvc", "repro", "-q", "made", "hidden")
    return root


@pytest.fixture
def clone(made, tmp_path):
    """What git would clone of it; it knows no output's hash."""
    for name in ("dvc.yaml", "params.yaml", "given.csv.dvc", "code/a.py", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((made / name).read_text())
    return tmp_path


def test_outputs_and_added_data_travel_by_their_hashes(made, clone, monkeypatch):
    monkeypatch.chdir(made)
    recipe = read_recipe("reads")
    assert [item.path for item in recipe.inputs] == ["given.csv", "many"] and recipe.sources == {}
    push(recipe.inputs)
    monkeypatch.chdir(clone)
    bring(recipe.inputs)
    assert (clone / "given.csv").read_text() == "1,2\n"
    assert sorted(path.name for path in (clone / "many").iterdir()) == ["1", "2"]
    (clone / "many" / "2").unlink()
    (clone / "many" / "2").write_text("edited")
    bring(recipe.inputs)
    assert (clone / "many" / "2").read_text() == "2"


def test_what_the_remote_lacks_is_named(made, clone, monkeypatch):
    monkeypatch.chdir(made)
    (many,) = written_by("made")
    assert (many.hash, many.size, many.files) == ("md5", 2, 2) and many.value.endswith(".dir")
    monkeypatch.chdir(clone)
    with pytest.raises(DataError, match=r"many \(0{32}\): neither in this clone's cache nor on DVC's remote"):
        bring([replace(many, value="0" * 32)])


def test_without_a_remote_it_says_so(made, clone, monkeypatch):
    (clone / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    monkeypatch.chdir(made)
    items = written_by("made")
    monkeypatch.chdir(clone)
    with pytest.raises(ConfigurationError, match=r"no DVC remote, .*dvc remote add -d"):
        bring(items)


def test_an_output_that_dvc_does_not_keep_cannot_travel(made, monkeypatch):
    monkeypatch.chdir(made)
    with pytest.raises(ConfigurationError, match="hidden has `cache: false`"):
        read_recipe("shown")


def test_an_equal_clone_has_no_difference_and_any_other_is_named(made, clone, monkeypatch):
    monkeypatch.chdir(made)
    theirs = read_recipe("made")
    assert set(theirs.sources) == {"code"} and theirs.definition["params"] == {"params.yaml": {"word": {"a": 1}}}
    monkeypatch.chdir(clone)

    def said():
        return difference(theirs, read_recipe("made", inputs=False))

    assert said() is None
    (clone / "code" / "b.py").write_text("")
    assert said() == "code is another than the coordinator's"
    (clone / "code" / "b.py").unlink()
    (clone / "params.yaml").write_text("word: {a: 2}\nother: 1\n")
    assert said() == "params.yaml: the stage's params differ from the coordinator's"
    (clone / "params.yaml").write_text("word: {a: 1}\nother: 1\n")
    assert said() is None
    (clone / "dvc.yaml").write_text(DAG.replace("mkdir();", "mkdir(); 1;"))
    assert said() == "dvc.yaml: the stage's cmd differ from the coordinator's"
    with pytest.raises(DataError, match="no stage 'gone'"):
        read_recipe("gone")


def test_a_missing_source_is_named():
    there = Recipe({}, {"a.py": "1", "b.py": None}, ())
    assert difference(there, Recipe({}, {"a.py": None, "b.py": None}, ())) == "a.py is missing here"
    assert difference(there, Recipe({}, {"a.py": "1", "b.py": None}, (Item("x", "md5", "1"),))) is None


def test_a_folders_digest_is_of_names_and_contents(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "in").mkdir(parents=True)
        (folder / "in" / "a").write_text("1")
    assert digest_of(first) == digest_of(second) is not None
    (second / "in" / "a").rename(second / "in" / "b")
    assert digest_of(first) != digest_of(second)
    assert digest_of(tmp_path / "none") is None
