"""dvc.yaml lists what each stage really imports of the project, no more and no less."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.dependencies import derive_benchmarks, derive_main, stale

ROOT = Path(__file__).resolve().parents[2]


def stages(file="dvc.yaml"):
    document = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return {name: stage.get("do", stage) for name, stage in document["stages"].items()}


def test_the_files_are_as_derived(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert stale(ROOT) == {}, "run `make dag`"


PROBE = """
import importlib, sys
from pathlib import Path
importlib.import_module(sys.argv[1])
files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
root = Path.cwd()
print(*sorted(str(Path(f).relative_to(root)) for f in files if f and Path(f).is_relative_to(root) and ".venv" not in f))
"""


@pytest.mark.parametrize("stage", ["generate", "fuse", "embed", "vote", "audit", "evaluate", "account", "report"])
def test_the_interpreter_agrees(stage):
    """What is loaded when the stage's module is, asked of Python itself rather than of the source."""
    body = stages()[stage]
    module = body["cmd"].split()[2]
    done = subprocess.run([sys.executable, "-c", PROBE, module], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {f for f in done.stdout.split() if f.endswith(".py")}
    listed = {dep for dep in body["deps"] if dep.endswith(".py") and "${" not in dep}
    # No stage of pricecut's imports a module of the project later than at its own import.
    assert loaded == listed


def test_a_new_import_makes_the_list_stale(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    without = text.replace("        - labeling/reconcile.py\n", "", 1)
    more = text.replace(
        "        - labeling/reconcile.py\n", "        - labeling/reconcile.py\n        - labeling/label.py\n", 1
    )
    assert without != text != more
    assert derive_main(without, ROOT) == derive_main(more, ROOT) == text


def test_the_benchmarks_run_the_same_stages():
    main, benchmarks = stages(), stages("benchmarks/dvc.yaml")
    assert list(benchmarks) == [name for name in main if name != "generate"]
    for name, stage in benchmarks.items():
        assert stage.pop("wdir") == ".."
        assert stage == main[name]
    assert derive_benchmarks((ROOT / "dvc.yaml").read_text()) == (ROOT / "benchmarks/dvc.yaml").read_text()


def test_imports_go_down_only():
    done = subprocess.run([Path(sys.prefix) / "bin/lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
