"""From the same votes to training labels: our label models beside Snorkel's, crowd-kit's Dawid-Skene and majority; then the text too.

Four public sets with published votes. Every label set trains the same end model (TF-IDF of words and characters, frozen MiniLM, logistic
regression, C=1 for all), which is scored on the test split; nothing but that score reads the test split, and the valid split is not
read at all. Label models of votes alone train it on the rows that a function covers, as Snorkel and WRENCH do; ours with
text on all rows. Majority shares a tie among its classes (crowd-kit's takes the first). The gold sample is 100 train rows drawn at
random, a new draw each seed; the end model of these rows alone is given the better of C=1 and C=10.

One code and one set of defaults: the constants of `labeling.refine` were chosen on invented keyword functions over BANKING77,
FinancialPhraseBank and clothing reviews, with these four sets looked at beside them. ``--set FOLDER`` measures another WRENCH folder.
"""

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from crowdkit.aggregation import DawidSkene, MajorityVote
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.data import public_data
from benchmarks.end_model import Features, features_of, predict_test
from labeling.features import text_features
from labeling.label_models import collapse, fits
from labeling.refine import refine_with_gold, refine_without_gold
from labeling.sources import VOTE_PREFIX, read_wrench

SETS = {"youtube": "Youtube_acc", "sms": "SMS_f1", "semeval": "SemEval_acc", "hausa": None}
"""The sets, and each one's column in wrench_published.csv."""
GOLD_ROWS = 100
C = 1.0
C_FEW = 10.0
EPOCHS = 500
NAIVE = ("gold rows alone", "majority", "snorkel: LabelModel")


@dataclass(frozen=True)
class Votes:
    """One set in WRENCH's format."""

    texts: list[str]
    test_texts: list[str]
    matrix: np.ndarray
    gold: np.ndarray
    test_gold: np.ndarray
    classes: int

    @property
    def covered(self) -> np.ndarray:
        """Which train rows a function votes on."""
        return np.asarray((self.matrix >= 0).any(axis=1))


def read_set(folder: Path) -> Votes:
    """Read train and test of a WRENCH folder."""
    train, test = (read_wrench(folder / f"{part}.json") for part in ("train", "test"))
    texts = [table["text"].to_list() for table in (train, test)]
    gold = [table["label"].cast(pl.Int64).to_numpy() for table in (train, test)]
    matrix = train.select(pl.col(f"^{VOTE_PREFIX}.*$").cast(pl.Int8)).to_numpy()
    classes = len(json.loads((folder / "label.json").read_text("utf-8")))
    return Votes(texts[0], texts[1], matrix, gold[0], gold[1], classes)


def snorkels_own(votes: Votes, seed: int) -> np.ndarray:
    """Fit Snorkel's LabelModel by Snorkel itself."""
    from snorkel.labeling.model import LabelModel

    model = LabelModel(cardinality=votes.classes, verbose=False)
    model.fit(votes.matrix, n_epochs=EPOCHS, seed=seed, progress_bar=False)
    return np.asarray(model.predict_proba(votes.matrix))


def crowdkits(votes: Votes, aggregator: object) -> np.ndarray:
    """Aggregate by crowd-kit; hard labels for majority, probabilities for Dawid-Skene."""
    row, function = np.nonzero(votes.matrix >= 0)
    answers = pd.DataFrame({"task": row, "worker": function, "label": votes.matrix[row, function]})
    found = np.full((len(votes.matrix), votes.classes), 1 / votes.classes)
    if isinstance(aggregator, DawidSkene):
        shares = aggregator.fit_predict_proba(answers)
        found[shares.index] = shares.reindex(columns=range(votes.classes), fill_value=0.0).to_numpy()
    else:
        labels = MajorityVote().fit_predict(answers)
        found[labels.index] = np.eye(votes.classes)[labels.to_numpy()]
    return found


def labels_of(votes: Votes, seed: int) -> dict[str, np.ndarray]:
    """Fit every label model of votes alone, ours and theirs."""
    patterns = collapse(votes.matrix, votes.classes)
    found = {
        f"{kind}": patterns.rows(fit(patterns, None).predict_patterns(patterns))
        for kind, fit in fits(EPOCHS, seed).items()
        if kind != "snorkel" or patterns.functions >= 3
    }
    found["snorkel: LabelModel"] = snorkels_own(votes, seed)
    found["crowd-kit: MajorityVote"] = crowdkits(votes, MajorityVote())
    found["crowd-kit: DawidSkene"] = crowdkits(votes, DawidSkene(n_iter=100))
    return found


class EndModel:
    """Trains the end model on labels and scores both; labels seen before are not trained on again."""

    def __init__(self, votes: Votes, features: Features) -> None:
        self.votes, self.features = votes, features
        seen = {_plain(text) for text in votes.texts}
        self.new = np.array([_plain(text) not in seen for text in votes.test_texts])
        self.known: dict[bytes, dict[str, float]] = {}

    def score(self, targets: np.ndarray, rows: np.ndarray, c: float = C) -> dict[str, float]:
        """Score labels against train gold on their rows, and the end model on test, in percent."""
        key = targets.tobytes() + rows.tobytes() + str(c).encode()
        if key not in self.known:
            found = predict_test(self.features, targets, rows, c)
            truth, train = self.votes.test_gold, self.votes.gold[rows]
            scores = {
                "train_accuracy": accuracy_score(train, targets[rows].argmax(axis=1)),
                "train_f1": f1_score(train, targets[rows].argmax(axis=1), average="macro", zero_division=0.0),
                "accuracy": accuracy_score(truth, found),
                "f1": f1_score(truth, found, average="macro", zero_division=0.0),
                "accuracy_new_texts": accuracy_score(truth[self.new], found[self.new]),
            }
            if self.votes.classes == 2:
                scores["f1_of_class_1"] = f1_score(truth, found)
            self.known[key] = {name: 100 * float(value) for name, value in scores.items()}
        return self.known[key]


def measure(folder: Path, seeds: int) -> dict[str, Any]:
    """Measure one set: every label model, then the treatment without gold and with 100 gold rows, beside gold."""
    votes = read_set(folder)
    features = features_of(votes.texts, votes.test_texts)
    end = EndModel(votes, features)
    everywhere, hand = np.ones(len(votes.gold), dtype=bool), np.eye(votes.classes)[votes.gold]
    scored: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        for name, labels in labels_of(votes, seed).items():
            scored.setdefault(name, []).append(end.score(labels, votes.covered))
        dense = text_features(votes.texts, features.embeddings, seed)
        weak = refine_without_gold(votes.matrix, dense, votes.classes)
        scored.setdefault("ours, no gold", []).append(end.score(weak, everywhere))
        sample = np.sort(np.random.default_rng(seed).choice(len(votes.gold), GOLD_ROWS, replace=False))
        pooled = refine_with_gold(votes.matrix, dense, votes.classes, weak, sample, votes.gold[sample], seed)
        scored.setdefault("ours, 100 gold rows", []).append(end.score(pooled.probabilities, everywhere))
        alone = [end.score(hand, sample, c) for c in (C, C_FEW)]
        scored.setdefault("gold rows alone", []).append(max(alone, key=lambda scores: scores["accuracy"]))
        sys.stderr.write(f"{folder.name}: seed {seed + 1} of {seeds}\n")
    scored["all rows by hand"] = [end.score(hand, everywhere)]
    table = {name: summarize(scores) for name, scores in scored.items()}
    return {
        "rows": len(votes.texts),
        "functions": votes.matrix.shape[1],
        "coverage": round(float(votes.covered.mean()), 4),
        "test_texts_in_train": int((~end.new).sum()),
        "table": table,
        **compare(table),
    }


def summarize(scores: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return mean and deviation over the seeds, a pair a score."""
    return {
        name: [round(float(np.mean(values)), 2), round(float(np.std(values)), 2)]
        for name in scores[0]
        for values in [[score[name] for score in scores]]
    }


def compare(table: dict[str, dict[str, list[float]]]) -> dict[str, object]:
    """Say how much of the gap between Snorkel's LabelModel and gold is closed, and whether a naive choice did better."""
    accuracy = {name: scores["accuracy"] for name, scores in table.items()}
    low, high = accuracy["snorkel: LabelModel"][0], accuracy["all rows by hand"][0]
    ours, deviation = accuracy["ours, 100 gold rows"]
    closed = {
        "without_gold": round((accuracy["ours, no gold"][0] - low) / (high - low), 3),
        "gold_100": round((ours - low) / (high - low), 3),
    }
    return {"gap_closed": closed, "never_worse": all(ours + deviation >= accuracy[name][0] for name in NAIVE)}


def published(path: Path) -> dict[str, list[list[object]]]:
    """Return the five best published rows of each set, and those of Snorkel's model and majority under logistic regression."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for name, column in SETS.items():
        if column is None:
            continue
        known = [row for row in rows if row[column]]
        best = sorted(known, key=lambda row: -float(row[column]))[:5]
        simple = [
            row for row in known if row["end_model"] == "LR" and row["label_model"] in ("MV", "DP", "Snorkel", "MeTaL")
        ]
        found[f"{name} ({column})"] = [
            [row["end_model"], row["label_model"], float(row[column])] for row in [*best, *simple]
        ]
    return found


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _line(name: str, scores: dict[str, list[float]]) -> str:
    pairs = [scores[key] for key in ("train_accuracy", "train_f1", "accuracy", "f1", "accuracy_new_texts")]
    return f"  {name:26s}" + "".join(f"{mean:8.1f} ±{deviation:4.1f}" for mean, deviation in pairs)


def main() -> None:
    """Measure all sets, print the tables, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", type=Path, help="a WRENCH folder to measure in place of the four")
    arguments = parser.parse_args()
    folders = arguments.set or [public_data(f"{name}/train.json") / name for name in SETS]
    found = {}
    for folder in folders:
        found[folder.name] = result = measure(folder, arguments.seeds)
        sys.stdout.write(
            f"{folder.name}: train accuracy, macro-F1 of the labels; test accuracy, macro-F1, accuracy on texts not in train\n"
        )
        for name, scores in result["table"].items():
            sys.stdout.write(_line(name, scores) + "\n")
    answer: dict[str, object] = {
        "gap_closed": {
            key: round(float(np.mean([result["gap_closed"][key] for result in found.values()])), 3)
            for key in ("without_gold", "gold_100")
        },
        "never_worse": all(result["never_worse"] for result in found.values()),
        "seeds": arguments.seeds,
        "sets": found,
    }
    if not arguments.set:
        answer["published"] = published(public_data("wrench_published.csv") / "wrench_published.csv")
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
