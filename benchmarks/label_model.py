"""Our fit of Snorkel's LabelModel beside Snorkel's own: seconds, peak memory, and how far the probabilities are apart.

Each side runs in a process of its own, one after the other, on the same votes (a file), with the same class balance, epochs,
seed and learning rate. Both import the same libraries; what a third process that only imports them and maps the votes
holds is subtracted from both peaks. A second pair of runs has dense votes, of which every row is a pattern of its own; a last
process fits 1,200 functions of 56 classes, which ended Snorkel (snorkel-team/snorkel#1656).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS, SEED, LEARNING_RATE = 500, 1, 0.01
FUNCTIONS, CLASSES = 50, 10
WIDE_FUNCTIONS, WIDE_CLASSES, WIDE_ROWS = 1200, 56, 200_000


def planted_votes(rows: int, functions: int, classes: int, coverage: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Draw votes of functions that are right in 55 to 90 % of their votes, int8 of shape (rows, functions)."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(classes, rows, p=planted_balance(classes)).astype(np.int8)
    matrix = np.full((rows, functions), -1, dtype=np.int8)
    covered, accuracies = draw.uniform(*coverage, functions), draw.uniform(0.55, 0.9, functions)
    for j in range(functions):
        voted = np.nonzero(draw.random(rows, dtype=np.float32) < covered[j])[0]
        wrong = (truth[voted] + draw.integers(1, classes, len(voted), dtype=np.int8)) % classes
        right = draw.random(len(voted), dtype=np.float32) < accuracies[j]
        matrix[voted, j] = np.where(right, truth[voted], wrong)
    return matrix


def planted_balance(classes: int) -> np.ndarray:
    """Return shares of which the largest is three times the smallest."""
    shares = np.linspace(3, 1, classes)
    return shares / shares.sum()


def peak() -> float:
    """Return this process's peak resident memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_side(side: str, votes: Path, answers: Path) -> dict[str, float]:
    """Fit and predict in this process, and write the probabilities."""
    import snorkel.labeling.model
    import torch  # noqa: F401

    from labeling.label_models import collapse, fit_snorkel

    matrix = np.load(votes, mmap_mode="r")
    matrix = np.ascontiguousarray(matrix)
    classes = int(matrix.max()) + 1
    balance = planted_balance(classes)
    before, started = peak(), time.perf_counter()
    found: dict[str, float] = {"peak_before_mib": before}
    if side == "ours":
        patterns = collapse(matrix, classes)
        found["patterns"] = patterns.height
        model = fit_snorkel(patterns, balance, EPOCHS, SEED, LEARNING_RATE)
        fitted = time.perf_counter()
        probabilities = patterns.rows(model.predict_patterns(patterns))
    elif side == "snorkel":
        theirs: Any = snorkel.labeling.model.LabelModel(cardinality=classes, verbose=False)
        theirs.fit(
            matrix, class_balance=balance.tolist(), n_epochs=EPOCHS, seed=SEED, lr=LEARNING_RATE, progress_bar=False
        )
        fitted = time.perf_counter()
        probabilities = theirs.predict_proba(matrix)
    else:
        return {"peak_mib": peak()}
    done = time.perf_counter()
    found |= {
        "fit_s": fitted - started,
        "predict_s": done - fitted,
        "fit_predict_s": done - started,
        "peak_mib": peak(),
    }
    np.save(answers, probabilities.astype(np.float64))
    return found


def run_wide() -> dict[str, float]:
    """Fit 1,200 functions of 56 classes, our way of Snorkel's model and our own."""
    from labeling.label_models import LabelModel, collapse, fit_hierarchical, fit_snorkel

    matrix = planted_votes(WIDE_ROWS, WIDE_FUNCTIONS, WIDE_CLASSES, (0.003, 0.02))
    found: dict[str, float] = {}
    patterns = collapse(matrix, WIDE_CLASSES)
    found["patterns"] = patterns.height
    fitting: dict[str, Callable[[], LabelModel]] = {
        "snorkel": lambda: fit_snorkel(patterns, planted_balance(WIDE_CLASSES), 100, SEED),
        "hierarchical": lambda: fit_hierarchical(patterns, None),
    }
    for name, fit in fitting.items():
        started = time.perf_counter()
        fit().predict_patterns(patterns)
        found[f"{name}_s"] = round(time.perf_counter() - started, 2)
        found[f"peak_gib_after_{name}"] = round(peak() / 1024, 3)
    return found


def child(*arguments: str) -> dict[str, float]:
    """Run this module in a process of its own, and read the last line it prints."""
    command = [sys.executable, "-m", "benchmarks.label_model", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"exit_code": done.returncode}
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(rows: int, coverage: tuple[float, float], repeats: int) -> dict[str, object]:
    """Run both sides in turn on one drawing of votes; the fastest of each side's runs counts."""
    with tempfile.TemporaryDirectory() as folder:
        votes = Path(folder) / "votes.npy"
        np.save(votes, planted_votes(rows, FUNCTIONS, CLASSES, coverage))
        answers = {side: Path(folder) / f"{side}.npy" for side in ("nothing", "ours", "snorkel")}
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in answers}
        for _ in range(repeats):
            for side, path in answers.items():
                runs[side].append(child("--side", side, str(votes), str(path)))
        found: dict[str, object] = {"runs": runs}
        if any("exit_code" in run for side in runs.values() for run in side):
            return found
        base = min(run["peak_mib"] for run in runs["nothing"])
        seconds = {side: min(run["fit_predict_s"] for run in runs[side]) for side in ("ours", "snorkel")}
        memory = {side: max(run["peak_mib"] for run in runs[side]) - base for side in ("ours", "snorkel")}
        ours, theirs = (np.load(answers[side], mmap_mode="r") for side in ("ours", "snorkel"))
        apart = max(
            float(np.abs(ours[start : start + 65_536] - theirs[start : start + 65_536]).max())
            for start in range(0, rows, 65_536)
        )
        return found | {
            "patterns": runs["ours"][0]["patterns"],
            "ratio_fit_predict": round(seconds["snorkel"] / seconds["ours"], 1),
            "ratio_memory": round(memory["snorkel"] / memory["ours"], 1),
            "largest_difference": round(apart, 7),
            "ours_s": round(seconds["ours"], 3),
            "snorkel_s": round(seconds["snorkel"], 3),
            "ours_mib_above": round(memory["ours"], 1),
            "snorkel_mib_above": round(memory["snorkel"], 1),
            "baseline_mib": round(base, 1),
        }


def main() -> None:
    """Compare, and print one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "VOTES", "ANSWERS"))
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--sparse-only", action="store_true", help="neither dense votes nor 1,200 functions")
    chosen = parser.parse_args()
    if chosen.side:
        sys.stdout.write(json.dumps(run_side(chosen.side[0], Path(chosen.side[1]), Path(chosen.side[2]))) + "\n")
        return
    if chosen.wide:
        sys.stdout.write(json.dumps(run_wide()) + "\n")
        return
    found: dict[str, object] = {
        "rows": chosen.rows,
        "functions": FUNCTIONS,
        "classes": CLASSES,
        "votes": "planted: each function covers 5-20 % of the rows and is right in 55-90 % of its votes",
        "subtracted": "peak of a process that imports the same libraries and holds the votes",
        "epochs": EPOCHS,
    }
    found |= compare(chosen.rows, (0.05, 0.2), chosen.repeats)
    if not chosen.sparse_only:
        found["dense"] = {"votes": "each function covers 90-100 % of the rows"} | compare(chosen.rows, (0.9, 1.0), 1)
        found["wide"] = {"functions": WIDE_FUNCTIONS, "classes": WIDE_CLASSES, "rows": WIDE_ROWS} | child("--wide")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
