"""What dvc.yaml says about leaks: who may read the test, and who may know a train row's label."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def stages(file):
    document = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return {name: stage.get("do", stage) for name, stage in document["stages"].items()}


@pytest.mark.parametrize("file", ["dvc.yaml", "benchmarks/dvc.yaml"])
@pytest.mark.parametrize("table", ["test.parquet", "truth.parquet"])
def test_only_evaluate_depends_on_what_must_not_be_learned_from(file, table):
    readers = [name for name, stage in stages(file).items() if any(str(dep).endswith(table) for dep in stage["deps"])]
    assert readers == ["evaluate"]


@pytest.mark.parametrize("file", ["dvc.yaml", "benchmarks/dvc.yaml"])
def test_what_evaluate_writes_reaches_no_stage_that_learns(file):
    everything = stages(file)
    reached, frontier = set(), ["evaluate"]
    while frontier:
        outs = outputs(everything[frontier.pop()])
        for name, stage in everything.items():
            if name not in reached and outs & {str(dep) for dep in stage["deps"]}:
                reached.add(name)
                frontier.append(name)
    assert reached == {"account", "report"}


def outputs(stage):
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return {out if isinstance(out, str) else next(iter(out)) for out in listed}
