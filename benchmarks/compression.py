"""What compression keeps and cuts, on gold labels: the chosen candidate beside the teacher, and beside what one would use instead.

Each set goes through the stages ``teach``, ``distill``, ``substitute`` and ``compress`` in a project of its own, with params.yaml's
parameters but for OVER and OWN. The choice is `training.choice`'s, on rows held back from train, each share of the teacher's score less a
standard error (`confidence: standard_error`; `benchmarks.gate` says why); test rows are read after it. Every latency is that of one
request, tokenizing included, one thread, the median, all classifiers in turn (`training.latency`).

- ``size_ratio``, ``latency_ratio``: the teacher in LiteRT, fp32, at true lengths, divided by the chosen candidate; ``retained``: the
  chosen one's macro-F1 divided by the teacher's, on test. ``latency_ratio_onnx_int8``: the teacher in ONNX Runtime, dynamic int8.
- ``passed``: whether it passed the gates, else it is the one with the best macro-F1; ``by_point``: what ``confidence: point`` would choose.
- ``network``: the same of the cheapest passing *network* (no bag, no cascade), so that neither hides the other.
- ``tfidf``, ``static``: scikit-learn's TF-IDF + logistic regression, and a Model2Vec-style model: the checkpoint's vector of each
  token, principal axes, weights by rank, their mean, logistic regression.
- ``ladder``: what each step adds to the queries a second, a rung a step (`benchmarks.ladder`).
"""

import argparse
import copy
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks.gold_sets import SETS, GoldSet, read_gold_set, write_gold_set
from benchmarks.ladder import climb, mean_ladder, rungs
from labeling.checkpoint import resolve_checkpoint
from labeling.encoder import encode as embed
from labeling.training_set import read_training_set
from ledger.parameters import PARAMETERS_FILE, read_yaml
from ledger.places import Places
from training.artifact import Card, read_card, served_bytes
from training.choice import Confidence, Gates, Measured, choose
from training.compress import write_candidate
from training.evaluate import EvaluateParameters, candidate_folders, measure, round_figures
from training.latency import speeds
from training.model_files import read_model
from training.onnx_format import onnx_bytes
from training.quality import accuracy, macro_f1, retained_interval
from training.quantization import uniform
from training.runtime import load
from training.sample import sample
from training.tokenization import encode, read_tokenizer

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("teach", "distill", "substitute", "compress")
OVER: dict[str, dict[str, Any]] = {
    "teach": {"method": "full", "epochs": 4, "batch_size": 32, "learning_rate": 1.5e-4},
    "distill": {"augment": 2, "epochs": 8, "depth": 3, "depths": [1, 2, 3]},
    "compress": {"teacher_formats": ["litert"]},
}
"""Beside params.yaml: a teacher trained whole, as gold labels are worth it, and a longer lesson for a student of nine sizes."""
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "banking77": {
        "teach": {
            "epochs": 12,
            "learning_rate": 3e-4,
            "keep_best": False,
            "added_words": 4000,
            "token_dropout": 0.15,
            "second_opinion": 0.5,
        },
        "hardware": {"precision": "auto"},
        "distill": {"epochs": 5},
    },
    "financial_phrasebank": {
        "distill": {"depth": 6, "depths": [2, 4, 6], "heads": 6, "feedforward": 768, "augment": 4, "epochs": 6},
    },
}
"""Of one set: 77 intents need more steps, and these are in Albanian, which MiniLM does not know; the
phrase bank's sentences are such that no student of three layers passes."""
DOCUMENT = read_yaml(ROOT / PARAMETERS_FILE)
PARAMETERS = EvaluateParameters.model_validate(DOCUMENT["evaluate"])
REQUESTS = 300
LARGEST = ("student", "litert", "float32")


def gates(confidence: Confidence) -> Gates:
    """Return params.yaml's gates, asked with another confidence."""
    return PARAMETERS.gates.model_copy(update={"confidence": confidence})


GATES = gates("standard_error")
"""Sets that have only a hundred rows to choose by should not be judged by luck."""


def prepare(name: str, gold_set: GoldSet, root: Path) -> Places:
    """Write a project with the set as its one app, and run the stages in it, those that have run before left out."""
    places = Places(name, root)
    write_gold_set(gold_set, places.training_set)
    document = copy.deepcopy(DOCUMENT)
    for changes in (OVER, OWN.get(name, {})):
        for section, keys in changes.items():
            document[section] |= keys
    (root / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    for stage in STAGES:
        done, started = root / "done" / f"{name}-{stage}", time.perf_counter()
        if not done.exists():
            run_stage(stage, name, root)
            done.parent.mkdir(exist_ok=True)
            done.write_text(f"{time.perf_counter() - started:.1f}")
        logger.info("%s: %s, %s s", name, stage, done.read_text())
    write_int8_teacher(places)
    return places


def run_stage(stage: str, app: str, root: Path) -> None:
    """Run a stage of training in a project; end with what it said last where it fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = (sys.executable, "-m", f"training.{stage}", app)
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"{app}: {stage} failed\n{ran.stderr[-2000:]}")


def write_int8_teacher(places: Places) -> None:
    """Write the teacher in ONNX Runtime's dynamic int8: our own graph, which is faster than what the quantizer makes of fp32's."""
    teacher = read_model(places.teacher, "teach")
    shape = teacher.shape
    card = Card(
        name="teacher-onnx-int8",
        role="teacher",
        format="onnx",
        precision="int8",
        labels=list(teacher.labels),
        max_length=teacher.max_length,
        width=shape.width,
        depth=shape.depth,
        vocabulary=shape.vocabulary,
        parameters=sum(weight.size for weight in teacher.weights.values()),
    )
    content = onnx_bytes(shape, teacher.weights, uniform(shape, "int8"))
    write_candidate(card, content, teacher, places.root / "rivals" / places.app / card.name)


@dataclass(frozen=True)
class Peer:
    """What one would use instead: it answers with probabilities, and weighs what its arrays and words weigh."""

    predict: Any
    bytes: int


def tfidf(train: Sequence[str], labels: Sequence[int]) -> Peer:
    """scikit-learn's TF-IDF of words and word pairs under a logistic regression."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(max_iter=2000, C=10).fit(vectorizer.fit_transform(train), labels)
    weight = model.coef_.nbytes + vectorizer.idf_.nbytes + sum(len(word.encode()) for word in vectorizer.vocabulary_)
    return Peer(lambda texts, batch=0: model.predict_proba(vectorizer.transform(texts)), weight)  # noqa: ARG005


def static(train: Sequence[str], labels: Sequence[int]) -> Peer:
    """A Model2Vec-style model (Tulkens and van Dongen 2024): a table of the checkpoint's token vectors, their mean, a linear head."""
    tokenizer = read_tokenizer(resolve_checkpoint("minilm") / "tokenizer.json", 512)
    words = [str(tokenizer.id_to_token(number)) for number in range(tokenizer.get_vocab_size())]
    table = PCA(256, random_state=0).fit_transform(embed([word.removeprefix("##") for word in words]))
    table *= np.log1p(np.arange(1, len(table) + 1))[
        :, None
    ]  # by rank: WordPiece numbers tokens from the most frequent on
    table = table.astype(np.float32)

    def features(texts: Sequence[str]) -> np.ndarray:
        means = np.stack(
            [table[ids[1:-1]].mean(axis=0) if len(ids) > 2 else table[0] for ids in encode(tokenizer, texts)]
        )
        return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9))

    model = LogisticRegression(max_iter=2000, C=10).fit(features(train), labels)
    return Peer(lambda texts, batch=0: model.predict_proba(features(texts)), table.nbytes + model.coef_.nbytes)  # noqa: ARG005


def measure_set(name: str, root: Path, seed: int) -> dict[str, Any]:
    """Make, choose, and measure on test."""
    gold_set = read_gold_set(name)
    places = prepare(name, gold_set, root)
    folders = candidate_folders(places.candidates, places.substitutes)
    measured = measure(folders, sample(read_training_set(places.training_set)), PARAMETERS)
    chosen = choose(measured, GATES)
    networks = [each for each in measured if each.role == "teacher" or each.format in ("litert", "onnx")]
    student = choose(networks, GATES)

    rivals = places.root / "rivals" / name / "teacher-onnx-int8"
    named = {
        "chosen": folders[chosen.student.name],
        "student": folders[student.student.name],
        "teacher": folders["teacher-litert-float32"],
        "teacher_int8": rivals,
    }
    served: dict[str, Any] = {role: load(folder, 1) for role, folder in named.items()}
    served |= {"tfidf": tfidf(*gold_set.train), "static": static(*gold_set.train)}
    weighs = {role: served_bytes(folder, read_card(folder)) for role, folder in named.items()}
    weighs |= {role: served[role].bytes for role in ("tfidf", "static")}
    texts, truth = gold_set.test[0], np.asarray(gold_set.test[1])
    speed = speeds(served, texts, REQUESTS)
    predicted = {role: each.predict(texts).argmax(axis=1) for role, each in served.items()}
    classes = len(gold_set.labels)
    report: dict[str, Any] = {
        role: {
            "accuracy": accuracy(truth, predicted[role]),
            "macro_f1": macro_f1(truth, predicted[role], classes),
            "bytes": weighs[role],
            "latency_ms": speed[role].latency_ms,
        }
        for role in served
    }
    for role, choice in (("chosen", chosen), ("student", student)):
        ours = report[role] | {"name": choice.student.name, "passed": choice.passed}
        ours["size_ratio"] = weighs["teacher"] / weighs[role]
        ours["latency_ratio"] = speed["teacher"].latency_ms / speed[role].latency_ms
        ours["latency_ratio_onnx_int8"] = speed["teacher_int8"].latency_ms / speed[role].latency_ms
        ours["retained"] = report[role]["macro_f1"] / report["teacher"]["macro_f1"]
        ours["retained_interval"] = retained_interval(truth, predicted[role], predicted["teacher"], classes, seed)
        report[role] = ours
    # Of the students, the largest alone is written in float32.
    whole = next(each.name for each in networks if (each.role, each.format, each.precision) == LARGEST)
    largest = (folders[whole], folders[whole.replace("float32", "int8")])
    ladder = rungs(named["teacher"], *largest, named["student"], named["chosen"])
    return report | {
        "by_point": choose(measured, gates("point")).student.name,
        "sizes": sizes(measured, chosen.teacher),
        "ladder": climb(ladder, texts, truth, classes, DOCUMENT["prices"]["cpu_hour"]),
    }


def sizes(measured: list[Measured], teacher: Measured) -> list[dict[str, Any]]:
    """Return each network in its fastest int8 form, on the choice sample: the supernet's part of the frontier."""
    found = [
        each for each in measured if each.format == "litert" and each.precision == "int8" and each.role == "student"
    ]
    return [
        {
            "name": each.name,
            "retained": each.macro_f1 / teacher.macro_f1,
            "bytes": each.bytes,
            "latency_ms": each.latency_ms,
        }
        for each in sorted(found, key=lambda each: each.bytes)
    ]


def mean_of(results: dict[str, dict[str, Any]], role: str) -> dict[str, float]:
    """Return the mean over the sets of each ratio."""
    keys = ("size_ratio", "latency_ratio", "latency_ratio_onnx_int8", "retained")
    return {key: float(np.mean([result[role][key] for result in results.values()])) for key in keys}


def main() -> None:
    """Measure the sets, and print one JSON object on one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set", action="append", choices=SETS, help="measure this set; may be given again")
    parser.add_argument(
        "--folder", type=Path, help="keep the projects here; stages that have run there are not run again"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    os.environ["RAYON_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        results = {}
        for name in arguments.set or SETS:
            root = (arguments.folder or Path(scratch)).resolve() / name
            root.mkdir(parents=True, exist_ok=True)
            results[name] = measure_set(name, root, arguments.seed)
            logger.info("%s: %s", name, json.dumps(round_figures(results[name])))
    document = mean_of(results, "chosen") | {
        "network": mean_of(results, "student"),
        "ladder": mean_ladder([result["ladder"] for result in results.values()]),
        "sets": results,
    }
    sys.stdout.write(json.dumps(round_figures(document)) + "\n")


if __name__ == "__main__":
    main()
