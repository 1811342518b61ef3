"""Votes of fifty functions: pricecut beside Snorkel's PandasLFApplier, on the same rows, in one run.

    python -m benchmarks.voting [--rows 100000 1000000] [--full]

The last line is one JSON object. Messages are generated (``benchmarks.voting_functions``). Each side runs in a process of its own, one
after the other; imports are not timed, all else is: ours reads the Parquet file and starts its workers within its time, Snorkel is
handed a pandas DataFrame in memory.

- ``ratio_declared``: Snorkel's seconds over ours, the fifty functions declared here and coded as row functions there.
- ``ratio_rows``: the same, both sides with the same fifty row functions.
- ``edit_one_ratio``: seconds of all fifty functions (25 declared, 25 row functions; empty cache) over seconds after one was edited: a
  declared one; ``edit_one_row_ratio``: a row function.
- ``equal``: both matrices are the same, byte for byte.
- ``peak_mb``: the largest resident set, in MB; of ours with what its workers hold.

Above ``SNORKEL_ROWS`` rows Snorkel votes on every n-th row only, and its seconds are scaled up linearly: it goes row by row. The JSON says
which figures are (``snorkel_rows``, ``scaled``). ``--full`` runs it on all.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from snorkel.labeling import LabelingFunction, PandasLFApplier

from benchmarks.voting_functions import LABELS, declared, declared_in_python, messages, row_functions
from labeling.functions import keyword
from labeling.voting.apply import vote_all
from labeling.voting.cache import VoteCache
from labeling.voting.workers import usable_cores

SNORKEL_ROWS = 100_000


def snorkel(functions: Sequence[LabelingFunction], table: Path, share: int) -> tuple[np.ndarray, dict[str, float]]:
    """Vote on every ``share``-th row with Snorkel."""
    frame = pl.read_parquet(table).gather_every(share).to_pandas()
    began = time.perf_counter()
    matrix = PandasLFApplier(list(functions)).apply(frame, progress_bar=False)
    return matrix.astype(np.int8), {"seconds": time.perf_counter() - began}


def ours(functions: Sequence[LabelingFunction], table: Path, share: int) -> tuple[np.ndarray, dict[str, float]]:
    """Vote on all rows, and return the votes on every ``share``-th."""
    began = time.perf_counter()
    votes = vote_all(functions, pl.scan_parquet(table), LABELS)
    seconds = time.perf_counter() - began
    return np.column_stack([voted.column[::share] for voted in votes]), {"seconds": seconds}


def edits(table: Path) -> dict[str, float]:
    """Vote with all functions, then after one edit each."""
    before = [*declared()[::2], *row_functions()[::2]]
    changed = keyword("keyword_0", LABELS[0], ["invoice", "receipt", "fee", "statement"])
    coded = row_functions()[0]
    coded._resources["keywords"].append("statement")
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = VoteCache(Path(folder), 10**10)
        for name, functions in (
            ("all", before),
            ("one_declared", [changed, *before[1:]]),
            ("one_row", [*before[:25], coded, *before[26:]]),
            ("none", before),
        ):
            began = time.perf_counter()
            vote_all(functions, pl.scan_parquet(table), LABELS, cache=cache)
            seconds[name] = time.perf_counter() - began
    return seconds


SIDES = {
    "snorkel_declared": lambda table, share: snorkel(declared_in_python(), table, share),
    "snorkel_rows": lambda table, share: snorkel(row_functions(), table, share),
    "ours_declared": lambda table, share: ours(declared(), table, share),
    "ours_rows": lambda table, share: ours(row_functions(), table, share),
}


def side(name: str, table: Path, share: int, matrix: Path) -> None:
    """Run one side, in this process, and print what it took."""
    if name == "edits":
        taken: dict[str, float] = edits(table)
    else:
        votes, taken = SIDES[name](table, share)
        np.save(matrix, votes)
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Linux counts KiB; of the children it tells the largest, of which there are as many as cores.
    taken["peak_mb"] = round((own + children * usable_cores()) * 1024 / 1e6)
    sys.stdout.write(json.dumps(taken) + "\n")


def in_process(name: str, table: Path, share: int, matrix: Path) -> dict[str, float]:
    """Run one side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.voting", "--side", name, str(table), str(share), str(matrix)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{name}: {taken}\n")
    return taken


def measure(rows: int, folder: Path, full: bool) -> dict[str, object]:
    """Run all sides on a number of rows."""
    table = folder / f"{rows}.parquet"
    messages(rows).write_parquet(table, row_group_size=65_536)
    share = 1 if full else max(1, rows // SNORKEL_ROWS)
    taken = {name: in_process(name, table, share, folder / f"{name}.npy") for name in SIDES}
    matrices = {name: np.load(folder / f"{name}.npy") for name in SIDES}
    edited = in_process("edits", table, share, folder / "none.npy")
    return {
        "rows": rows,
        "functions": matrices["ours_declared"].shape[1],
        "snorkel_rows": len(matrices["snorkel_rows"]),
        "scaled": share,
        "ratio_declared": round(share * taken["snorkel_declared"]["seconds"] / taken["ours_declared"]["seconds"], 1),
        "ratio_rows": round(share * taken["snorkel_rows"]["seconds"] / taken["ours_rows"]["seconds"], 1),
        "edit_one_ratio": round(edited["all"] / edited["one_declared"], 1),
        "edit_one_row_ratio": round(edited["all"] / edited["one_row"], 1),
        "equal": all(
            np.array_equal(matrices[f"snorkel_{kind}"], matrices[f"ours_{kind}"]) for kind in ("declared", "rows")
        ),
        "seconds": {name: round(each["seconds"], 2) for name, each in taken.items()},
        "edit_seconds": {name: round(value, 3) for name, value in edited.items() if name != "peak_mb"},
        "peak_mb": {name: each["peak_mb"] for name, each in taken.items()},
    }


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description="Votes of fifty functions, beside Snorkel's.")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--full", action="store_true", help="Snorkel votes on every row of the largest table too")
    parser.add_argument("--side", nargs=4, metavar=("NAME", "TABLE", "SHARE", "MATRIX"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        name, table, share, matrix = arguments.side
        side(name, Path(table), int(share), Path(matrix))
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = [measure(rows, Path(folder), arguments.full) for rows in sorted(arguments.rows)]
    ratios = ("ratio_declared", "ratio_rows", "edit_one_ratio", "edit_one_row_ratio")
    result = {name: measured[-1][name] for name in ratios} | {
        "equal": all(each["equal"] for each in measured),
        "cores": usable_cores(),
        "text": "generated",
        "measured": measured,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
