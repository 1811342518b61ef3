"""Stage `distill`: train an elastic student on the teacher's answers.

It learns from the text of train and unlabeled rows, and from new texts made of these; gold rows only tell how it fares.
"""

import logging
import tempfile
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from labeling.training_set import TrainingSet, read_training_set
from ledger.errors import ConfigurationError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage
from training.augment import augment
from training.batches import length_grouped
from training.determinism import make_deterministic
from training.elastic_classifier import ElasticClassifier, build, named_weights
from training.elastic_training import Batch, ElasticTraining, Weights
from training.inference import predict_logits
from training.meters import leave_meter
from training.model_files import Model, read_model, write_model
from training.progress import Progress
from training.relations import last_attention
from training.runtime import softmax
from training.sample import Sample, learned_from, sample
from training.schedule import adamw
from training.shape import Size
from training.student import cut_student, fresh_shape, inherit_embeddings
from training.teacher_logits import read_logits
from training.teacher_states import teacher_answers
from training.tokenization import encode, pad
from training.vocabulary import prune_tokenizer, used_ids

logger = logging.getLogger(__name__)


class LossParameters(Parameters):
    """How much each part of the loss counts; ``distill.loss``."""

    logits: float = Field(ge=0)
    labels: float = Field(ge=0)
    hidden: float = Field(ge=0)
    relations: float = Field(ge=0)


class DistillParameters(Parameters):
    """The section ``distill`` of ``params.yaml``."""

    origin: Literal["teacher", "fresh"]
    layers: list[int] | None
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    heads: int = Field(ge=1)
    feedforward: int = Field(ge=1)
    widths: list[int] = Field(min_length=1)
    depths: list[int] = Field(min_length=1)
    shares: list[float] = Field(min_length=1)
    loss: LossParameters
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
    def _sizes_fit(self) -> "DistillParameters":
        for name, offered, whole in (("widths", self.widths, self.width), ("depths", self.depths, self.depth)):
            if max(offered) != whole or min(offered) < 1:
                raise ValueError(f"{name}={offered} must be at least 1, the largest {whole}")
        if max(self.shares) != 1 or min(self.shares) <= 0:
            raise ValueError(f"shares={self.shares} must be above 0, the largest 1")
        if self.layers is not None and len(self.layers) != self.depth:
            raise ValueError(f"layers={self.layers} must name {self.depth} layers of the teacher, as depth says")
        return self

    @property
    def size(self) -> Size:
        """The largest student's."""
        return Size(self.width, self.depth, self.heads, self.feedforward)

    def sizes(self) -> list[Size]:
        """Return every size on offer, from the smallest on; each share is of a layer's heads and neurons."""
        found = {
            Size(width, depth, max(1, round(share * self.heads)), max(1, round(share * self.feedforward)))
            for width, depth, share in product(self.widths, self.depths, self.shares)
        }
        return sorted(found)


@dataclass(frozen=True)
class Lessons:
    """What the student learns from, a text a row.

    Attributes
    ----------
    sequences : list of np.ndarray
        The student's token ids, int32, of true length.
    logits : np.ndarray
        The teacher's, float32 of shape ``(n, classes)``.
    labels : np.ndarray
        The training set's soft labels, float32 of shape ``(n, classes)``.
    weights : np.ndarray
        The trust in those, float32 of shape ``(n,)``; 0 for unlabeled and augmented texts.
    states : list of np.ndarray
        The teacher's hidden states around its last layer; empty where the loss does without.
    """

    sequences: list[np.ndarray]
    logits: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    states: list[np.ndarray]

    def batch(self, rows: np.ndarray) -> Batch:
        """Pad some rows to a batch."""
        ids = pad([self.sequences[row] for row in rows])
        if self.states:
            states = pad([self.states[row] for row in rows]).astype(np.float32)
        else:
            states = np.zeros((len(rows), 0, 0), dtype=np.float32)
        return Batch(ids, self.logits[rows], self.labels[rows], self.weights[rows], states)


def main(places: Places, usage: Usage) -> None:
    """Read the teacher, its logits and the training set; train the student; write it and the meter."""
    # Each size has a graph of its own, which TensorFlow warns of as one traced again and again.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    parameters = read_parameters("distill", DistillParameters)
    training_set = read_training_set(places.training_set)
    teacher = read_model(places.teacher, "teach")
    logits = read_logits(places.logits, training_set)
    make_deterministic(parameters.seed)

    by = sample(training_set)
    learned = learned_from(training_set, by)
    originals = encode(teacher.tokenizer, training_set.rows["text"].filter(learned).to_list())
    tokenizer, kept = prune_tokenizer(teacher.tokenizer, used_ids(originals), places.teacher)
    logger.info("vocabulary pruned from %d to %d tokens", teacher.shape.vocabulary, len(kept))

    random = np.random.default_rng(parameters.seed)
    student = new_student(teacher, kept, originals, logits[learned], parameters)
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "states.npy" if loss_weights(parameters).need_states else None
        lessons = prepare(training_set, learned, originals, logits, teacher, store, kept, parameters, random)
        logger.info(
            "%d texts, and %d made of them that the teacher answered",
            len(originals),
            len(lessons.logits) - len(originals),
        )
        steps = train(student, lessons, teacher, parameters, random)
    report_sizes(student, encode(tokenizer, by.choice["text"].to_list()), by, parameters)

    weights = named_weights(student)
    sizes = tuple(parameters.sizes())
    write_model(
        Model(training_set.labels, teacher.max_length, sizes, student.shape, weights, tokenizer), places.student
    )
    usage.figures |= {
        "texts": len(originals),
        "augmented": len(lessons.logits) - len(originals),
        "vocabulary": len(kept),
        "steps": steps,
        "parameters": student.count_params(),
        "sizes": len(sizes),
    }
    leave_meter(places, usage)


def new_student(
    teacher: Model, kept: np.ndarray, sequences: list[np.ndarray], logits: np.ndarray, parameters: DistillParameters
) -> ElasticClassifier:
    """Make the student: cut out of the teacher, or fresh layers over the teacher's word embeddings.

    Raises
    ------
    ConfigurationError
        If what ``params.yaml`` asks for cannot be had of this teacher.
    """
    try:
        if parameters.origin == "teacher":
            layers = tuple(parameters.layers or range(parameters.depth))
            if max(layers) >= teacher.shape.depth or min(layers) < 0:
                raise ValueError(f"layers={list(layers)} must be among the teacher's 0 to {teacher.shape.depth - 1}")
            answers = softmax(logits)
            shape, weights = cut_student(teacher, kept, layers, parameters.size, sequences, answers)
            return build(replace(shape, dropout=parameters.dropout), weights)
        shape = fresh_shape(teacher, len(kept), parameters.size, parameters.dropout)
    except ValueError as error:
        raise ConfigurationError(f"params.yaml: distill: {error}") from None
    counts = np.bincount(np.concatenate(sequences), minlength=teacher.shape.vocabulary)[kept]
    fresh = ElasticClassifier(shape)
    return build(shape, inherit_embeddings(named_weights(fresh), teacher.weights["embedding/tokens"][kept], counts))


def prepare(
    training_set: TrainingSet,
    learned: np.ndarray,
    originals: list[np.ndarray],
    logits: np.ndarray,
    teacher: Model,
    store: Path | None,
    kept: np.ndarray,
    parameters: DistillParameters,
    random: np.random.Generator,
) -> Lessons:
    """Make new texts of those at hand, have the teacher answer what it has not yet, and put all into the student's terms."""
    added = augment(originals, parameters.augment, teacher.max_length, random)
    whole = build(teacher.shape, teacher.weights)
    answered, states = teacher_answers(whole, [*originals, *added] if store else added, store)
    targets = np.concatenate([logits[learned], answered[len(originals) :] if store else answered])
    rows = training_set.rows.filter(learned)
    labels = np.asarray(rows["probabilities"].to_list(), dtype=np.float32)
    labeled = (rows["split"] == "train").to_numpy()
    weights = np.where(labeled, rows["weight"].to_numpy(), 0.0).astype(np.float32)
    weights /= weights[labeled].mean() if labeled.any() and weights[labeled].any() else 1.0
    none = np.zeros((len(added), labels.shape[1]), dtype=np.float32)
    return Lessons(
        [np.searchsorted(kept, sequence).astype(np.int32) for sequence in [*originals, *added]],
        targets,
        np.concatenate([labels, none]),
        np.concatenate([weights, np.zeros(len(added), dtype=np.float32)]),
        states,
    )


def train(
    student: ElasticClassifier,
    lessons: Lessons,
    teacher: Model,
    parameters: DistillParameters,
    random: np.random.Generator,
) -> int:
    """Train the student in place, epoch by epoch, and return the number of steps taken."""
    lengths = np.asarray([len(sequence) for sequence in lessons.sequences])
    steps = parameters.epochs * -(-len(lengths) // parameters.batch_size)
    optimizer = adamw(parameters.learning_rate, steps, parameters.warmup, parameters.weight_decay)
    weights = loss_weights(parameters)
    training = ElasticTraining(
        student,
        optimizer,
        parameters.sizes(),
        parameters.temperature,
        weights,
        random,
        last_attention(teacher) if weights.relations else None,
        teacher.shape.width if weights.need_states else None,
    )
    progress = Progress(logger, parameters.epochs, len(lengths))
    for epoch in range(1, parameters.epochs + 1):
        losses = []
        for rows in length_grouped(lengths, parameters.batch_size, random):
            losses.append(training.step(lessons.batch(rows)))
            progress.rows(epoch, len(rows))
        progress.epoch(epoch, {"loss": float(np.mean(losses))})
    return steps


def loss_weights(parameters: DistillParameters) -> Weights:
    """Return the weights of the loss' parts."""
    return Weights(**parameters.loss.model_dump())


def report_sizes(
    student: ElasticClassifier, sequences: list[np.ndarray], by: Sample, parameters: DistillParameters
) -> None:
    """Say how the smallest and the largest size fare on the rows that the choice will be made by."""
    truth, sizes = by.choice["label"].to_numpy(), parameters.sizes()
    for size in (sizes[0], sizes[-1]) if len(truth) else ():
        right = np.mean(predict_logits(student, sequences, size).argmax(axis=1) == truth)
        logger.info("%s: accuracy %.3f on the %s", size, right, by.origin)


if __name__ == "__main__":
    run_stage("distill", main)
