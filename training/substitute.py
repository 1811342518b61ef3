"""Stage `substitute`: other algorithms than a network of attention, trained on the teacher's answers for the same race.

Each is a bag of features (`training.bag`): no TF-IDF of scikit-learn, no pickle, nothing but NumPy to serve it. They learn from
train and unlabeled texts and from texts made of these; gold rows are left for the choice.
"""

import logging
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from labeling.training_set import TrainingSet, read_training_set
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage
from training import convolution
from training.artifact import MODEL_FILES, Card, served_bytes, write_card
from training.augment import augment
from training.bag import Answer, Bag, answer, as_int8, bag_bytes
from training.bag_training import BagParameters, Lesson, train_bag
from training.cascade import Threshold, find_threshold, write_thresholds
from training.convolution import Convolution, convolution_bytes
from training.convolution_training import ConvolutionParameters, train_convolution
from training.cross_fitting import find_temperature, out_of_fold
from training.determinism import make_deterministic
from training.elastic_classifier import build
from training.inference import predict_logits
from training.meters import leave_meter
from training.model_files import Model, read_model
from training.runtime import softmax
from training.sample import learned_from, sample
from training.teacher_logits import read_logits
from training.tokenization import encode

logger = logging.getLogger(__name__)

AGREEMENT = 0.995
"""In int8 if its answers are the float32 table's on so many of the texts."""


class SubstituteParameters(Parameters):
    """The section ``substitute`` of ``params.yaml``."""

    models: dict[str, BagParameters | ConvolutionParameters]
    label_share: float = Field(ge=0, le=1)
    augment: int = Field(ge=0)
    cascade: list[str]
    budgets: list[float]
    folds: int = Field(ge=2)
    seed: int

    @model_validator(mode="after")
    def _cascades_are_models(self) -> "SubstituteParameters":
        if unknown := set(self.cascade) - set(self.bags):
            raise ValueError(f"cascade={self.cascade} names {sorted(unknown)}, which are no bags of models")
        if any(not 0 < budget < 1 for budget in self.budgets):
            raise ValueError(f"budgets={self.budgets} must be shares between 0 and 1")
        return self

    @property
    def bags(self) -> dict[str, BagParameters]:
        """The models that are bags."""
        return {name: model for name, model in self.models.items() if isinstance(model, BagParameters)}


def main(places: Places, usage: Usage) -> None:
    """Read the training set, the teacher and its logits; train each model; write a folder of each, ready to serve."""
    parameters = read_parameters("substitute", SubstituteParameters)
    places.substitutes.mkdir(parents=True, exist_ok=True)
    if parameters.models:
        training_set, teacher = read_training_set(places.training_set), read_model(places.teacher, "teach")
        make_deterministic(parameters.seed)
        logits = read_logits(places.logits, training_set)
        lesson, originals = learn_from(training_set, logits, teacher, parameters)
        logger.info("%d texts, and %d made of them that the teacher answered", originals, len(lesson.texts) - originals)
        for name, model in parameters.models.items():
            started, folder = time.perf_counter(), places.substitutes / name
            made: Bag | Convolution
            thresholds: list[Threshold] = []
            if isinstance(model, ConvolutionParameters):
                made = train_convolution(lesson, originals, teacher.max_length, model, parameters.seed)
            else:
                made = train_bag(lesson, originals, teacher.max_length, model, parameters.seed)
                if name in parameters.cascade:
                    made, thresholds = calibrated(made, lesson.take(np.arange(originals)), model, parameters)
            card = write_substitute(name, made, lesson.texts[:originals], teacher, folder)
            write_thresholds(thresholds, folder)
            report(made, training_set, card, served_bytes(folder, card), time.perf_counter() - started)
        usage.figures |= {"texts": originals, "augmented": len(lesson.texts) - originals}
    usage.figures |= {"models": len(parameters.models)}
    leave_meter(places, usage)


def learn_from(
    training_set: TrainingSet, logits: np.ndarray, teacher: Model, parameters: SubstituteParameters
) -> tuple[Lesson, int]:
    """Return what the models learn from, and how many of its texts are the training set's own, which come first.

    A text's loss is ``(1 - s) * CE(teacher) + s * w * CE(labels)``: ``s`` is ``label_share``, ``w`` the row's weight, 0 where it is
    unlabeled. As one cross-entropy: the two targets in this proportion, weighted by ``1 - s + s * w``.
    """
    learned = learned_from(training_set, sample(training_set))
    rows, share = training_set.rows.filter(pl.Series(learned)), parameters.label_share
    texts = rows["text"].to_list()
    trust = share * rows["weight"].to_numpy()[:, None]
    labels = np.asarray(rows["probabilities"].to_list(), dtype=np.float32)
    mixed = (1 - share) * softmax(logits[learned]) + trust * labels
    weights = 1 - share + trust
    added = augmented_texts(texts, parameters.augment, teacher.max_length, np.random.default_rng(parameters.seed))
    answered = softmax(predict_logits(build(teacher.shape, teacher.weights), encode(teacher.tokenizer, added)))
    targets = np.concatenate([mixed / np.maximum(weights, 1e-9), answered]).astype(np.float32)
    return Lesson(texts + added, targets, np.append(weights, np.ones(len(added))).astype(np.float32)), len(texts)


def augmented_texts(texts: list[str], copies: int, longest: int, random: np.random.Generator) -> list[str]:
    """Make new texts of texts as `augment` makes sequences of tokens; here of words, as they were written."""
    words = [text.split() for text in texts]
    every = [word for text in words for word in text]
    starts = np.cumsum([0, *map(len, words)])
    numbers = [np.concatenate([[-1], np.arange(start, end), [-1]]) for start, end in pairwise(starts) if end > start]
    return [" ".join(every[word] for word in made[1:-1]) for made in augment(numbers, copies, longest + 2, random)]


def calibrated(
    bag: Bag, lesson: Lesson, model: BagParameters, parameters: SubstituteParameters
) -> tuple[Bag, list[Threshold]]:
    """Find a bag's temperature (Guo et al. 2017) and thresholds on answers to texts that it was not trained on.

    Each fold of the texts is answered by a bag trained on the others. The bag comes back with its logits divided by the
    temperature, which costs nothing when it is served.
    """
    logits = out_of_fold(lesson, bag.features.longest, model, parameters.folds, parameters.seed)
    temperature = find_temperature(logits, lesson)
    truth = lesson.targets.argmax(axis=1)
    thresholds = [find_threshold(logits / temperature, truth, budget) for budget in parameters.budgets]
    for found in thresholds:
        shown = (temperature, found.threshold, found.share, found.budget)
        logger.info("temperature %.2f, from confidence %.3f on it answers %.3f of the texts within budget %g", *shown)
    return cooled(bag, temperature), thresholds


def cooled(bag: Bag, temperature: float) -> Bag:
    """Return the bag with its logits divided by the temperature."""
    head = {name: (weight / temperature).astype(np.float32) for name, weight in bag.head.items()}
    return (
        replace(bag, head=head)
        if "linear" in head
        else replace(bag, head=head, table=bag.table / np.float32(temperature))
    )


def answer_of(model: Bag | Convolution) -> Answer:
    """Return the function that answers texts by a model of either kind."""
    return convolution.answer(model) if isinstance(model, Convolution) else answer(model)


def write_substitute(name: str, model: Bag | Convolution, texts: list[str], teacher: Model, folder: Path) -> Card:
    """Write a model's folder, its table in int8 if that answers like float32, and return its card."""
    form: Literal["bag", "convolution"]
    small: Bag | Convolution
    if isinstance(model, Convolution):
        form, small, written = "convolution", convolution.as_int8(model), partial(convolution_bytes, model)
    else:
        form, small, written = "bag", as_int8(model), partial(bag_bytes, model)
    agree = np.mean(answer_of(model)(texts, 1).argmax(axis=1) == answer_of(small)(texts, 1).argmax(axis=1))
    card = Card(
        name=name,
        role="student",
        format=form,
        precision="int8" if agree >= AGREEMENT else "float32",
        labels=list(teacher.labels),
        max_length=teacher.max_length,
        width=model.table.shape[1],
        depth=int("linear" in model.head),
        vocabulary=len(model.keys),
        parameters=model.table.size + sum(weight.size for weight in model.head.values()),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILES[form]).write_bytes(written(card.precision))
    write_card(card, folder)
    return card


def report(model: Bag | Convolution, training_set: TrainingSet, card: Card, size: int, seconds: float) -> None:
    """Say how a model fares on the rows that the choice will be made by."""
    by = sample(training_set)
    right = np.mean(answer_of(model)(by.choice["text"].to_list(), 1).argmax(axis=1) == by.choice["label"].to_numpy())
    shown = (card.name, card.precision, size / 1e6, seconds, right, by.origin)
    logger.info("%s (%s): %.2f MB  %.1f s  accuracy %.3f on the %s", *shown)


if __name__ == "__main__":
    run_stage("substitute", main)
