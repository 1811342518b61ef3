"""Six crowdsourced sets: our label model beside crowd-kit's majority vote and Dawid-Skene.

One model with its defaults for all sets; the truth is read after the last label is given. An answer that a worker gave twice
counts once, its first, for all three.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene, MajorityVote

from benchmarks.data import public_data
from labeling.label_models import LabelModel, calibration_error, fits
from labeling.label_models.patterns import Patterns, collapse_triples

SETS = ("CF", "MS", "SP", "d_jn-product", "d_sentiment", "fact_eval")
KIND = "hierarchical"
ITERATIONS = 100


def read_answers(folder: Path, name: str) -> pd.DataFrame:
    """Read who labeled which item how, columns ``task``, ``worker``, ``label``."""
    answers = pd.read_csv(folder / f"{name}.label.csv").rename(columns={"item": "task"})
    return answers.drop_duplicates(["task", "worker"], keep="first")


def aggregate(answers: pd.DataFrame, kind: str) -> tuple[pd.Series, np.ndarray, np.ndarray, float]:
    """Return our label of each item, its probabilities, the classes' names, and the seconds it took."""
    started = time.perf_counter()
    items, item = np.unique(answers["task"], return_inverse=True)
    workers, worker = np.unique(answers["worker"], return_inverse=True)
    classes, vote = np.unique(answers["label"], return_inverse=True)
    patterns: Patterns = collapse_triples(item, worker, vote, (len(items), len(workers)), len(classes))
    model: LabelModel = fits(epochs=500, seed=1)[kind](patterns, None)
    probabilities = patterns.rows(model.predict_patterns(patterns))
    found = pd.Series(classes[probabilities.argmax(axis=1)], index=items)
    return found, probabilities, classes, time.perf_counter() - started


def measure(folder: Path, name: str, kind: str) -> dict[str, float | int]:
    """Label one set three ways, then read its truth and score them, in percent."""
    answers = read_answers(folder, name)
    ours, probabilities, classes, seconds = aggregate(answers, kind)
    started = time.perf_counter()
    majority = MajorityVote().fit_predict(answers)
    skene = DawidSkene(n_iter=ITERATIONS).fit_predict(answers)
    theirs_seconds = time.perf_counter() - started
    truth = pd.read_csv(folder / f"{name}.truth.csv").set_index("item")["truth"]
    known = truth[truth.isin(classes)]
    rows = pd.Series(range(len(ours)), index=ours.index).reindex(known.index).to_numpy()

    def accuracy(labels: pd.Series) -> float:
        return round(float((labels.reindex(truth.index) == truth).mean()) * 100, 2)

    return {
        "items": answers["task"].nunique(),
        "votes": len(answers),
        "truths": len(truth),
        "ours": accuracy(ours),
        "majority": accuracy(majority),
        "dawid_skene": accuracy(skene),
        "ours_ece": round(calibration_error(probabilities[rows], np.searchsorted(classes, known.to_numpy())), 4),
        "ours_s": round(seconds, 2),
        "crowdkit_s": round(theirs_seconds, 2),
    }


def main() -> None:
    """Measure all sets, and print one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default=KIND)
    kind = parser.parse_args().kind
    folder = public_data("crowd_labels") / "crowd_labels"
    sets = {name: measure(folder, name, kind) for name in SETS}
    ways = ("ours", "majority", "dawid_skene")
    mean = {way: round(float(np.mean([figures[way] for figures in sets.values()])), 2) for way in ways}
    found = {
        "kind": kind,
        "sets": sets,
        "mean": mean,
        "sets_ahead_of_majority": sum(figures["ours"] > figures["majority"] for figures in sets.values()),
        "smallest_lead_over_majority": round(min(s["ours"] - s["majority"] for s in sets.values()), 2),
        "lead_over_dawid_skene": round(mean["ours"] - mean["dawid_skene"], 2),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
