"""What each format and precision weighs and takes, for networks of several sizes, on one thread, beside the uncut teacher.

``python -m benchmarks.precisions`` writes a table, and one JSON object as the last line. The weights are random: bytes and
seconds do not depend on them. CPU seconds, the least of several rounds with all sides in turn, so that neighbours count little.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training.litert_format import litert_bytes
from training.onnx_format import onnx_bytes
from training.quantization import EMBEDDING, Plan, Precision, uniform
from training.quantize_probe import Run, open_model
from training.shape import Shape

LENGTHS = (16, 32)
VOCABULARY = 8000
STUDENT = Shape(
    vocabulary=VOCABULARY,
    positions=64,
    classes=77,
    width=128,
    depth=2,
    heads=4,
    head_width=32,
    feedforward=512,
    activation="relu",
    epsilon=1e-12,
    dropout=0.1,
)
MINILM = replace(
    STUDENT, vocabulary=30522, positions=512, width=384, depth=6, heads=12, feedforward=1536, activation="gelu_tanh"
)
STUDENTS = {
    f"{width} x {depth}": replace(
        STUDENT, width=width, depth=depth, heads=heads, head_width=width // heads, feedforward=4 * width
    )
    for width, depth, heads in ((128, 1, 4), (128, 2, 4), (192, 2, 4), (256, 3, 4), (384, 3, 6))
}
PRECISIONS: tuple[Precision, ...] = ("float32", "int8", "int8_static", "int4")
FORMATS = ("litert", "onnx")


@dataclass(frozen=True)
class Side:
    """One model file of the comparison."""

    network: str
    form: str
    precision: str
    size: int
    run: Run


def random_weights(shape: Shape) -> dict[str, np.ndarray]:
    """Return weights that keep activations at about one, as trained networks do."""
    random = np.random.default_rng(0)
    scale = {"kernel": 0.0, "gamma": 0.1, "beta": 0.1, "bias": 0.1, "tokens": 1.0, "positions": 0.3}
    weights = {}
    for name, size in shape.weights().items():
        spread = scale[name.rpartition("/")[2]] or size[0] ** -0.5
        weights[name] = (random.normal(0, spread, size) + (name.endswith("gamma"))).astype(np.float32)
    return weights


def write(form: str, shape: Shape, weights: dict[str, np.ndarray], plan: Plan) -> bytes:
    """Write a network; static ranges are made up, as they change no time."""
    known = {f"{layer}/{end}": (-4.0, 4.0) for layer in plan for end in ("in", "out")}
    if form == "litert":
        return litert_bytes(shape, weights, plan, known)
    return onnx_bytes(shape, weights, plan, known)


def sides() -> list[Side]:
    """Write every side of the comparison."""
    found = []
    plans: list[tuple[str, Shape, str, str, Plan]] = [
        ("MiniLM", MINILM, "litert", "float32", uniform(MINILM, "float32")),
        ("MiniLM", MINILM, "onnx", "int8", uniform(MINILM, "int8")),
    ]
    for name, shape in STUDENTS.items():
        for form in FORMATS:
            plans += [(name, shape, form, precision, uniform(shape, precision)) for precision in PRECISIONS]
            plans.append((name, shape, form, "int8, tables int4", uniform(shape, "int8") | {EMBEDDING: "int4"}))
    for name, shape, form, precision, plan in plans:
        content = write(form, shape, random_weights(shape), plan)
        found.append(Side(name, form, precision, len(content), open_model(form, content)))
    return found


def milliseconds(compared: list[Side], length: int, rounds: int, requests: int) -> list[float]:
    """Return the CPU milliseconds of one request of one text of ``length`` tokens, a side each."""
    ids = np.random.default_rng(1).integers(1, VOCABULARY, (1, length)).astype(np.int32)
    least = [float("inf")] * len(compared)
    for _ in range(rounds):
        for number, side in enumerate(compared):
            side.run(ids)  # the length changes, and caches are another's
            started = time.process_time()
            for _ in range(requests):
                side.run(ids)
            least[number] = min(least[number], (time.process_time() - started) / requests * 1000)
    return least


def main(arguments: list[str]) -> int:
    """Measure, and write the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=30)
    options = parser.parse_args(arguments)
    compared = sides()
    taken = {length: milliseconds(compared, length, options.rounds, options.requests) for length in LENGTHS}
    rows: list[dict[str, Any]] = [
        {"network": side.network, "format": side.form, "precision": side.precision, "bytes": side.size}
        | {f"ms_{length}": round(taken[length][number], 4) for length in LENGTHS}
        for number, side in enumerate(compared)
    ]
    sys.stdout.write(
        "| network | format | precision | MB | ms, 16 tokens | ms, 32 tokens |\n|---|---|---|---|---|---|\n"
    )
    for row in rows:
        megabytes = row["bytes"] / 1e6
        cells = [row["network"], row["format"], row["precision"], f"{megabytes:.2f}", row["ms_16"], row["ms_32"]]
        sys.stdout.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    sys.stdout.write(json.dumps(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
