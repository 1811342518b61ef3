"""One training for all sizes, beside a training for each: what every size loses, and what the trainings cost.

Runs in a project that `benchmarks.compression --folder` has left: its teacher, its lesson, its parameters, its student of many sizes. Each
size is then trained alone by the same stage (`distill`) with the same parameters, but that it is the only one on offer; nothing else
differs, the cut out of the teacher included. Both answer the test rows in float32.

- ``points``: by size, macro-F1 of the slice less that of the size trained alone, in points, with the 95 % interval of the paired bootstrap;
- ``worst``: the least of them; ``mean``: of all; ``cpu_ratio``: CPU seconds of all trainings alone, divided by the one's.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.compression import run_stage
from benchmarks.gold_sets import SETS, read_gold_set
from ledger.meter import cpu_seconds
from ledger.parameters import read_yaml
from ledger.places import Places
from training.elastic_classifier import build
from training.inference import predict_logits
from training.model_files import Model, read_model
from training.quality import accuracy, macro_f1, retained_interval
from training.shape import Size, slice_weights
from training.tokenization import encode


def train(project: Path, into: Path, app: str, changes: dict[str, Any]) -> float:
    """Run `distill` in a copy of the project with other parameters, and return its CPU seconds."""
    here, there = Places(app, project), Places(app, into)
    for path in (here.training_set, here.logits):
        (into / path.relative_to(project)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, into / path.relative_to(project))
    shutil.copytree(here.teacher, there.teacher, dirs_exist_ok=True)
    document = read_yaml(project / "params.yaml")
    document["distill"] |= changes
    (into / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    before = cpu_seconds()
    run_stage("distill", app, into)
    return cpu_seconds() - before


def alone(size: Size) -> dict[str, Any]:
    """Return the parameters under which a size is the only one."""
    return {
        "width": size.width,
        "depth": size.depth,
        "heads": size.heads,
        "feedforward": size.feedforward,
        "widths": [size.width],
        "depths": [size.depth],
        "shares": [1.0],
    }


def answers(model: Model, size: Size, texts: list[str]) -> np.ndarray:
    """Return the answers of a model's slice."""
    shape = model.shape.slice(size)
    network = build(shape, slice_weights(model.weights, shape))
    return predict_logits(network, encode(model.tokenizer, texts)).argmax(axis=1)


def compare(truth: np.ndarray, ours: np.ndarray, other: np.ndarray, classes: int) -> dict[str, Any]:
    """Return both scores, and the points between them."""
    score, whole = macro_f1(truth, ours, classes), macro_f1(truth, other, classes)
    low, high = retained_interval(truth, ours, other, classes, seed=1)
    return {
        "slice": round(score, 4),
        "alone": round(whole, 4),
        "points": round(100 * (score - whole), 2),
        "points_95": [round(100 * whole * (end - 1), 2) for end in (low, high)],
        "accuracy_points": round(100 * (accuracy(truth, ours) - accuracy(truth, other)), 2),
    }


def main() -> None:
    """Train, compare, and print one JSON object on one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set", choices=SETS, default="financial_phrasebank")
    parser.add_argument(
        "--folder", type=Path, required=True, help="of benchmarks.compression; trainings kept there are not repeated"
    )
    arguments = parser.parse_args()
    app, folder = arguments.set, arguments.folder.resolve()
    project, gold_set = folder / app, read_gold_set(arguments.set)
    texts, truth, classes = gold_set.test[0], np.asarray(gold_set.test[1]), len(gold_set.labels)
    together, found, costs = {}, {}, {}
    for size in (None, *read_model(Places(app, project).student, "distill").sizes):
        name = str(size or "together")
        into = folder / "alone" / app / name
        done = into / "cpu_s"
        if not done.exists():
            used = train(project, into, app, alone(size) if size else {})
            done.write_text(f"{used:.1f}")
        costs[name] = float(done.read_text())
        model = read_model(Places(app, into).student, "distill")
        if size is None:
            together = {each: answers(model, each, texts) for each in model.sizes}
            continue
        found[name] = compare(truth, together[size], answers(model, size, texts), classes)
        sys.stderr.write(f"{name}: {json.dumps(found[name])}\n")
    points = [row["points"] for row in found.values()]
    one = costs.pop("together")
    answer = {
        "set": app,
        "test_rows": len(truth),
        "sizes": len(found),
        "worst": min(points),
        "mean": round(float(np.mean(points)), 2),
        "cpu_s_together": one,
        "cpu_s_alone": round(sum(costs.values()), 1),
        "cpu_ratio": round(sum(costs.values()) / one, 2),
        "points": found,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
