"""Stage `compress`: slice the elastic student, and write each slice for each runtime and precision.

What is quantized keeps to an accuracy budget (`training.quantize`). The teacher is written too, in float32 only: it is
the uncut way that the student is compared with.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from labeling.training_set import TrainingSet, read_training_set
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage
from training.artifact import MODEL_FILES, TOKENIZER_FILE, Card, served_bytes, write_card
from training.meters import leave_meter
from training.model_files import Model, read_model
from training.quantization import Precision
from training.quantize import JUDGED, Format, Limits, Quantizer, Texts, spread
from training.quantize_budget import Fitted
from training.sample import sample
from training.shape import Shape, slice_weights
from training.tokenization import encode, write_tokenizer

logger = logging.getLogger(__name__)

Role = Literal["teacher", "student"]


class CompressParameters(Parameters):
    """The section ``compress`` of ``params.yaml``."""

    formats: list[Format] = Field(min_length=1)
    teacher_formats: list[Format] = Field(min_length=1)
    precisions: list[Precision] = Field(min_length=1)
    reduce_range: bool
    budget: float = Field(ge=0, le=1)
    calibration: int = Field(ge=1)
    recovery_epochs: int = Field(ge=0)
    recovery_learning_rate: float = Field(gt=0)
    seed: int


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
    parameters = read_parameters("compress", CompressParameters)
    teacher, student = read_model(places.teacher, "teach"), read_model(places.student, "distill")
    training_set = read_training_set(places.training_set)
    written = put_back = 0
    for source, networks in ((teacher, [whole_teacher(teacher)]), (student, slices(student, parameters.precisions))):
        texts = texts_of(training_set, source)
        for network in networks:
            for candidate in compressed(network, source, texts, parameters, places.candidates):
                written += 1
                put_back += bool(candidate.put_back)
    usage.figures |= {"candidates": written, "put_back": put_back}
    leave_meter(places, usage)


def whole_teacher(teacher: Model) -> Network:
    """Return the teacher as it is served uncut: whole, in float32."""
    return Network("teacher", "teacher", teacher.shape, teacher.weights, ("float32",))


def slices(student: Model, precisions: list[Precision]) -> Iterator[Network]:
    """Yield each slice the student was trained for.

    Float32, where fewer bits are on offer too, is kept for the largest slice alone: there it shows what they cost.
    """
    for size in student.sizes:
        shape = student.shape.slice(size)
        largest = shape == student.shape
        wanted = tuple(p for p in precisions if largest or p != "float32" or set(precisions) == {"float32"})
        yield Network(f"student-{size}", "student", shape, slice_weights(student.weights, shape), wanted)


def texts_of(training_set: TrainingSet, source: Model) -> Texts:
    """Return the gold sample to judge by, filled up with rows that may be learned from, and those rows."""
    rows, by = training_set.rows, sample(training_set)
    learned = encode(source.tokenizer, by.learning["text"].to_list())
    gold = rows.filter(pl.col("split") == "gold").head(JUDGED)
    judged = encode(source.tokenizer, gold["text"].to_list()) + spread(learned, JUDGED - gold.height)
    return Texts(judged, gold["label"].to_numpy() if gold.height else None, learned)


def compressed(
    network: Network, source: Model, texts: Texts, parameters: CompressParameters, folder: Path
) -> Iterator[Card]:
    """Write a network in each format and precision, and yield the cards."""
    quantizer = Quantizer(network.shape, network.weights, texts, limits_of(parameters))
    for format_ in parameters.teacher_formats if network.role == "teacher" else parameters.formats:
        for precision in network.precisions:
            started = time.perf_counter()
            content, fitted = quantizer.content(format_, precision)
            card = card_of(network, source, format_, precision, fitted, parameters)
            write_candidate(card, content, source, folder / card.name)
            seconds, megabytes = time.perf_counter() - started, served_bytes(folder / card.name, card) / 1e6
            logger.info("%-28s %6.2f MB  %.1f s  %.4f lost", card.name, megabytes, seconds, fitted.lost)
            yield card


def limits_of(parameters: CompressParameters) -> Limits:
    """Return how far quantization may go."""
    return Limits(**{name: getattr(parameters, name) for name in Limits.__dataclass_fields__})


def card_of(
    network: Network,
    source: Model,
    format_: Format,
    precision: Precision,
    fitted: Fitted,
    parameters: CompressParameters,
) -> Card:
    """Return what a candidate is."""
    in_seven_bits = parameters.reduce_range and format_ == "onnx"
    return Card(
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
        put_back=dict(fitted.put_back) or None,
        kernel_bits=(7 if in_seven_bits else 8) if precision in ("int8", "int8_static") else None,
    )


def write_candidate(card: Card, content: bytes, source: Model, folder: Path) -> None:
    """Write what serving needs: the model, its tokenizer, its card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILES[card.format]).write_bytes(content)
    write_tokenizer(source.tokenizer, folder / TOKENIZER_FILE)
    write_card(card, folder)


if __name__ == "__main__":
    run_stage("compress", main)
