"""What each `confidence` of the gates is worth: how often the choice keeps what was asked, and what that costs, by the rows to choose by.

On sets that `benchmarks.compression` does not measure by (`benchmarks.gold_sets.OTHERS`), each through the same stages with the same
parameters. Then, again and again, some held-out rows are drawn to choose by, and the rest is what the choice has not seen.

- ``passed``: the share of draws in which some candidate passed the gate. Where none does nothing is chosen, and the draw counts for
  nothing else: ``kept``, the mean share of the teacher's macro-F1 that the chosen one keeps on the rest; ``reached``, the share of these
  draws in which it keeps what the gate asked; ``times``, its cost (bytes × ms), as a multiple of that of the cheapest candidate which
  keeps what was asked on all held-out rows (null where there is none).
"""

import argparse
import json
import logging
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.compression import PARAMETERS, gates, prepare
from benchmarks.gold_sets import OTHERS, GoldSet, read_gold_set
from training.artifact import Card, read_card, served_bytes
from training.choice import Choice, Confidence, Measured, best_teacher, choose, cost
from training.evaluate import candidate_folders, round_figures
from training.latency import Speed, speeds
from training.quality import macro_f1, retained_interval
from training.runtime import load

logger = logging.getLogger(__name__)

ASKED = PARAMETERS.gates.retained_macro_f1
ROWS = (60, 120, 250, 500)
REQUESTS = 100


def answer(name: str, gold_set: GoldSet, root: Path) -> tuple[list[Measured], dict[str, np.ndarray]]:
    """Run the stages, and return the candidates with what they weigh and take, and what each answers to the held-out rows."""
    places = prepare(name, gold_set, root)
    folders = candidate_folders(places.candidates, places.substitutes)
    classifiers = {each: load(folder, 1) for each, folder in folders.items()}
    texts = gold_set.test[0]
    speed = speeds(classifiers, texts, REQUESTS)
    found = [
        unscored(read_card(folder), served_bytes(folder, read_card(folder)), speed[each])
        for each, folder in folders.items()
    ]
    return found, {each: classifier.predict(texts).argmax(axis=1) for each, classifier in classifiers.items()}


def unscored(card: Card, weighs: int, fast: Speed) -> Measured:
    """Return a candidate of which all is known but how well it does."""
    about = (card.name, card.role, card.format, card.precision, weighs, fast.latency_ms, fast.texts_per_s)
    return Measured(*about, accuracy=0.0, macro_f1=0.0, accuracy_interval=[], macro_f1_interval=[])


def scored(
    candidates: list[Measured], answers: dict[str, np.ndarray], truth: np.ndarray, rows: np.ndarray, classes: int
) -> list[Measured]:
    """Return the candidates as they do on some rows."""
    teacher = best_teacher(candidates).name
    at, uncut = truth[rows], answers[teacher][rows]
    return [
        replace(
            each,
            macro_f1=macro_f1(at, answers[each.name][rows], classes),
            retained_interval=retained_interval(at, answers[each.name][rows], uncut, classes, seed=1),
        )
        for each in candidates
    ]


def choices(candidates: list[Measured]) -> dict[str, Choice]:
    """Return what is chosen under each confidence."""
    return {each: choose(candidates, gates(each)) for each in get_args(Confidence)}


def study(
    candidates: list[Measured], answers: dict[str, np.ndarray], truth: np.ndarray, classes: int, draws: int
) -> dict[str, Any]:
    """Choose by rows drawn anew each time, and see what was chosen on the others."""
    teacher = best_teacher(candidates).name
    prices = {each.name: cost(each) for each in candidates}

    def kept(name: str, rows: np.ndarray) -> float:
        ours, uncut = (macro_f1(truth[rows], answers[each][rows], classes) for each in (name, teacher))
        return ours / uncut

    everything = np.arange(len(truth))
    able = [each.name for each in candidates if each.role == "student" and kept(each.name, everything) >= ASKED]
    least = min((prices[name] for name in able), default=float("nan"))
    random, found = np.random.default_rng(1), {}
    for count in (count for count in ROWS if count <= len(truth) / 2):
        seen: dict[str, list[tuple[float, float]]] = {each: [] for each in get_args(Confidence)}
        for _ in range(draws):
            mixed = random.permutation(len(truth))
            measured = scored(candidates, answers, truth, mixed[:count], classes)
            for confidence, choice in choices(measured).items():
                if choice.passed:
                    name = choice.student.name
                    seen[confidence].append((kept(name, mixed[count:]), prices[name] / least))
        found[str(count)] = {confidence: summary(passing, draws) for confidence, passing in seen.items()}
        logger.info("%d rows: %s", count, json.dumps(round_figures(found[str(count)])))
    return {"held_out": len(truth), "candidates": len(candidates), "able": len(able), "rows": found}


def summary(passing: list[tuple[float, float]], draws: int) -> dict[str, float | None]:
    """Return the share of draws in which something passed, and the means over these; of costs the geometric one, as they span orders."""
    if not passing:
        return {"passed": 0.0, "kept": None, "reached": None, "times": None}
    kept, multiples = np.asarray(passing).T
    times = float(np.exp(np.log(multiples).mean()))
    return {
        "passed": len(passing) / draws,
        "kept": float(kept.mean()),
        "reached": float((kept >= ASKED).mean()),
        "times": None if np.isnan(times) else times,
    }


def main() -> None:
    """Study the sets, and print one JSON object on one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set", action="append", choices=OTHERS, help="study this set; may be given again")
    parser.add_argument("--folder", type=Path, help="keep the projects here; stages that have run are not run again")
    parser.add_argument("--draws", type=int, default=100)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    os.environ["RAYON_NUM_THREADS"] = "1"
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.set or OTHERS:
            root = (arguments.folder or Path(scratch)).resolve() / name
            root.mkdir(parents=True, exist_ok=True)
            gold_set = read_gold_set(name)
            candidates, answers = answer(name, gold_set, root)
            truth = np.asarray(gold_set.test[1])
            results[name] = study(candidates, answers, truth, len(gold_set.labels), arguments.draws)
    sys.stdout.write(json.dumps(round_figures({"asked": ASKED, "sets": results})) + "\n")


if __name__ == "__main__":
    main()
