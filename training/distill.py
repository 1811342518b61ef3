"""Stage `distill`: train an elastic student on the teacher's answers.

It learns from the text of train and unlabeled rows, and from new texts made of these; gold rows only tell how it fares.
"""

import logging
import time
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from labeling.training_set import TrainingSet, read_training_set
from ledger.errors import DataError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage
from training.augment import augment
from training.batches import length_grouped
from training.determinism import make_deterministic
from training.elastic_classifier import ElasticClassifier, build, named_weights
from training.elastic_training import ElasticTraining
from training.inference import predict_logits
from training.meters import leave_meter
from training.model_files import Model, read_model, write_model
from training.sample import Sample, sample
from training.schedule import adamw
from training.student import inherit_embeddings, student_shape
from training.tokenization import encode, pad
from training.vocabulary import prune_tokenizer, used_ids

logger = logging.getLogger(__name__)


class DistillParameters(Parameters):
    """The section ``distill`` of ``params.yaml``."""

    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    heads: int = Field(ge=1)
    widths: list[int] = Field(min_length=1)
    depths: list[int] = Field(min_length=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    dropout: float = Field(ge=0, lt=1)
    temperature: float = Field(gt=0)
    augment: int = Field(ge=0)
    seed: int

    @model_validator(mode="after")
    def _slices_fit(self) -> "DistillParameters":
        if self.width % self.heads:
            raise ValueError(f"width={self.width} must be a multiple of heads={self.heads}")
        head = self.width // self.heads
        if any(width % head for width in self.widths) or max(self.widths) != self.width or min(self.widths) < 1:
            raise ValueError(f"widths={self.widths} must be multiples of width/heads={head}, the largest {self.width}")
        if max(self.depths) != self.depth or min(self.depths) < 1:
            raise ValueError(f"depths={self.depths} must be at least 1, the largest {self.depth}")
        return self


def main(places: Places, usage: Usage) -> None:
    """Read the teacher, its logits and the training set; train the student; write it and the meter."""
    parameters = read_parameters("distill", DistillParameters)
    training_set = read_training_set(places.training_set)
    teacher = read_model(places.teacher, "teach")
    logits = read_logits(places.logits, training_set)
    make_deterministic(parameters.seed)

    by = sample(training_set)
    learned = training_set.rows["row_id"].is_in(by.learning["row_id"].implode()).to_numpy()
    sequences = encode(teacher.tokenizer, training_set.rows["text"].to_list())
    originals = [sequence for sequence, learn in zip(sequences, learned, strict=True) if learn]
    tokenizer, kept = prune_tokenizer(teacher.tokenizer, used_ids(originals), places.teacher)
    logger.info("vocabulary pruned from %d to %d tokens", teacher.shape.vocabulary, len(kept))

    random = np.random.default_rng(parameters.seed)
    added = augment(originals, parameters.augment, teacher.max_length, random)
    whole_teacher = build(teacher.shape, teacher.weights)
    targets = np.concatenate([logits[learned], predict_logits(whole_teacher, added)])
    logger.info("%d texts, and %d made of them that the teacher answered", len(originals), len(added))

    student = new_student(teacher, kept, originals, parameters)
    renumbered = [np.searchsorted(kept, sequence).astype(np.int32) for sequence in originals + added]
    steps = train(student, renumbered, targets, parameters, random)
    report_slices(student, encode(tokenizer, by.choice["text"].to_list()), by, parameters)

    sizes = (tuple(sorted(parameters.widths)), tuple(sorted(parameters.depths)))
    weights = named_weights(student)
    write_model(
        Model(training_set.labels, teacher.max_length, *sizes, student.shape, weights, tokenizer), places.student
    )
    usage.figures |= {
        "texts": len(originals),
        "augmented": len(added),
        "vocabulary": len(kept),
        "steps": steps,
        "parameters": student.count_params(),
    }
    leave_meter(places, usage)


def read_logits(path: Path, training_set: TrainingSet) -> np.ndarray:
    """Read the teacher's logits in the training set's order, float32 of shape ``(rows, classes)``.

    Raises
    ------
    DataError
        If the file is missing, or lacks a row of the training set.
    """
    if not path.exists():
        raise DataError(f"{path}: not found; run the stage 'teach' first")
    rows = training_set.rows.select("row_id").join(
        pl.read_parquet(path), on="row_id", how="left", maintain_order="left"
    )
    missing = rows.filter(pl.col("logits").is_null())
    if missing.height:
        raise DataError(
            f"{path}: no logits for row '{missing['row_id'][0]}' and {missing.height - 1} more; run the stage 'teach' again"
        )
    return np.asarray(rows["logits"].to_list(), dtype=np.float32)


def new_student(
    teacher: Model, kept: np.ndarray, sequences: list[np.ndarray], parameters: DistillParameters
) -> ElasticClassifier:
    """Make the student: fresh layers over the teacher's word embeddings, pruned and projected to its width."""
    shape = student_shape(
        teacher.shape,
        len(kept),
        teacher.max_length,
        parameters.width,
        parameters.depth,
        parameters.heads,
        parameters.dropout,
    )
    counts = np.bincount(np.concatenate(sequences), minlength=teacher.shape.vocabulary)[kept]
    fresh = ElasticClassifier(shape)
    inherited = inherit_embeddings(named_weights(fresh), teacher.weights["embedding/tokens"][kept], counts)
    for weight in fresh.weights:
        weight.assign(inherited[weight.path.split("/", 1)[1]])
    return fresh


def train(
    student: ElasticClassifier,
    sequences: list[np.ndarray],
    targets: np.ndarray,
    parameters: DistillParameters,
    random: np.random.Generator,
) -> int:
    """Train the student in place, epoch by epoch, and return the number of steps taken."""
    lengths = np.asarray([len(sequence) for sequence in sequences])
    steps = parameters.epochs * -(-len(sequences) // parameters.batch_size)
    optimizer = adamw(parameters.learning_rate, steps, parameters.warmup, parameters.weight_decay)
    training = ElasticTraining(student, optimizer, parameters.widths, parameters.depths, parameters.temperature, random)
    for epoch in range(parameters.epochs):
        started = time.perf_counter()
        losses = [
            training.step(pad([sequences[row] for row in batch]), targets[batch])
            for batch in length_grouped(lengths, parameters.batch_size, random)
        ]
        seconds = time.perf_counter() - started
        logger.info("epoch %d/%d  loss %.4f  %.1f s", epoch + 1, parameters.epochs, np.mean(losses), seconds)
    return steps


def report_slices(
    student: ElasticClassifier, sequences: list[np.ndarray], by: Sample, parameters: DistillParameters
) -> None:
    """Say how the smallest and the largest slice fare on the rows that the choice will be made by."""
    truth = by.choice["label"].to_numpy()
    for end in (min, max) if len(truth) else ():
        width, depth = end(parameters.widths), end(parameters.depths)
        right = np.mean(predict_logits(student, sequences, width, depth).argmax(axis=1) == truth)
        logger.info("width %d, depth %d: accuracy %.3f on the %s", width, depth, right, by.origin)


if __name__ == "__main__":
    run_stage("distill", main)
