"""Stage `compress`: slice the elastic student, and write each slice for each runtime and precision.

The teacher is written too, in float32 only: it is the uncut way that the student is compared with.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage
from training.artifact import MODEL_FILES, TOKENIZER_FILE, Card, served_bytes, write_card
from training.cascade import make_cascades
from training.elastic_classifier import build
from training.litert_format import litert_bytes
from training.meters import leave_meter
from training.model_files import Model, read_model
from training.onnx_format import onnx_bytes
from training.shape import Shape, slice_weights
from training.tokenization import write_tokenizer

logger = logging.getLogger(__name__)

Format = Literal["litert", "onnx"]
Precision = Literal["float32", "int8"]
Role = Literal["teacher", "student"]


class CompressParameters(Parameters):
    """The section ``compress`` of ``params.yaml``."""

    formats: list[Format] = Field(min_length=1)
    teacher_formats: list[Format] = Field(min_length=1)
    precisions: list[Precision] = Field(min_length=1)
    reduce_range: bool


@dataclass(frozen=True)
class Network:
    """A network to be written: the teacher, or a slice of the student.

    Attributes
    ----------
    name : str
        Leads the names of its candidates.
    role : str
        ``teacher`` or ``student``.
    shape : Shape
        What it looks like.
    weights : dict of str to np.ndarray
        Float32, by name.
    precisions : tuple of str
        Those it is to be written in.
    """

    name: str
    role: Role
    shape: Shape
    weights: dict[str, np.ndarray]
    precisions: tuple[Precision, ...]


def main(places: Places, usage: Usage) -> None:
    """Read teacher and student, and write one folder a candidate, each ready to serve."""
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # the converter announces each scratch folder and each renamed input
    parameters = read_parameters("compress", CompressParameters)
    teacher, student = read_model(places.teacher, "teach"), read_model(places.student, "distill")
    written = 0
    for source, networks in ((teacher, [whole_teacher(teacher)]), (student, slices(student, parameters.precisions))):
        for network in networks:
            for card, content in compressed(network, source, parameters):
                started = time.perf_counter()
                folder = places.candidates / card.name
                write_candidate(card, content(), source, folder)
                seconds = time.perf_counter() - started
                logger.info("%-28s %6.2f MB  %.1f s", card.name, served_bytes(folder, card) / 1e6, seconds)
                written += 1
    written += len(make_cascades(places.substitutes, places.candidates))
    usage.figures |= {"candidates": written}
    leave_meter(places, usage)


def whole_teacher(teacher: Model) -> Network:
    """Return the teacher as it is served uncut: whole, in float32."""
    return Network("teacher", "teacher", teacher.shape, teacher.weights, ("float32",))


def slices(student: Model, precisions: list[Precision]) -> Iterator[Network]:
    """Yield each slice the student was trained for.

    Float32, where int8 is on offer too, is kept for the largest slice alone: there it shows what int8 costs.
    """
    for width in student.widths:
        for depth in student.depths:
            shape = student.shape.slice(width, depth)
            largest = shape == student.shape
            wanted = tuple(p for p in precisions if largest or p != "float32" or "int8" not in precisions)
            yield Network(f"student-w{width}-d{depth}", "student", shape, slice_weights(student.weights, shape), wanted)


def compressed(network: Network, source: Model, parameters: CompressParameters) -> Iterator[tuple[Card, Any]]:
    """Yield a card, and the function that makes the model file's bytes, for each format and precision."""
    for format_ in parameters.teacher_formats if network.role == "teacher" else parameters.formats:
        for precision in network.precisions:
            card = Card(
                name=f"{network.name}-{format_}-{precision}",
                role=network.role,
                format=format_,
                precision=precision,
                labels=list(source.labels),
                max_length=source.max_length,
                width=network.shape.width,
                depth=network.shape.depth,
                vocabulary=network.shape.vocabulary,
                parameters=sum(weight.size for weight in network.weights.values()),
            )
            yield card, lambda card=card: model_bytes(network, card, parameters.reduce_range)


def model_bytes(network: Network, card: Card, reduce_range: bool) -> bytes:
    """Return the model file of a candidate."""
    if card.format == "litert":
        return litert_bytes(build(network.shape, network.weights), card.precision)
    return onnx_bytes(network.shape, network.weights, card.precision, reduce_range)


def write_candidate(card: Card, content: bytes, source: Model, folder: Path) -> None:
    """Write what serving needs: the model, its tokenizer, its card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILES[card.format]).write_bytes(content)
    write_tokenizer(source.tokenizer, folder / TOKENIZER_FILE)
    write_card(card, folder)


if __name__ == "__main__":
    run_stage("compress", main)
