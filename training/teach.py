"""Stage `teach`: fine-tune the teacher on the training set's soft labels.

What the layers below those that learn say of a text never changes, so it is computed once.
Gold rows are never trained on: they say, epoch by epoch, how far the teacher has come, and which epoch to keep.
"""

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field
from tokenizers import Tokenizer

from labeling.checkpoint import NEEDED, resolve_checkpoint
from labeling.training_set import TrainingSet, read_training_set
from ledger.errors import CheckpointError, DataError
from ledger.meter import Usage, carry_forward, cpu_seconds
from ledger.parameters import read_parameters
from ledger.places import Places
from ledger.stage import run_stage
from training.added_words import add_words
from training.backbone import load_backbone, untrained_copy
from training.batches import length_grouped
from training.cross_fitting import with_second_opinion
from training.determinism import make_deterministic
from training.fine_tune import History, Lesson, Recipe, Watched, fine_tune
from training.meters import leave_meter
from training.model_files import Model, write_model
from training.parallel import Hardware, on_hardware
from training.pretrain import pretrain
from training.resume import fingerprint
from training.run_log import LogParameters, run_log
from training.sample import Sample, learned_from, sample
from training.schedule import adamw
from training.soft_label_training import SoftLabelTraining
from training.teacher import (
    Method,
    Pooling,
    Teacher,
    hidden_states,
    plain_shape,
    plain_weights,
    split_teacher,
    upper_inputs,
    upper_logits,
)
from training.teacher_logits import write_logits
from training.tokenization import encode, read_tokenizer

logger = logging.getLogger(__name__)

EARLIER = ("collect", "fuse", "embed", "vote", "label", "audit")
TIMED_STEPS = 2
WATCHED_ROWS = 500
"""Of the rows that are learned from, so many at most are scored each epoch."""


class TeachParameters(Recipe):
    """The section ``teach`` of ``params.yaml``; docs/parameters.md explains each key."""

    checkpoint: str
    max_length: int = Field(ge=8, le=512)
    pooling: Pooling
    method: Method
    trainable_layers: int = Field(ge=0)
    rank: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    log: LogParameters
    pretrain_epochs: int = Field(ge=0)
    added_words: int = Field(ge=0)
    second_opinion: float = Field(ge=0, lt=1)


def main(places: Places, usage: Usage) -> None:
    """Read the training set, fine-tune, and write the teacher, its logits, how it went, and the meter."""
    parameters = read_parameters("teach", TeachParameters)
    training_set = read_training_set(places.training_set)
    by = sample(training_set)
    labeled = trainable_rows(training_set, by, places.training_set)
    checkpoint = resolve_checkpoint(parameters.checkpoint)
    tokenizer = read_tokenizer(checkpoint / "tokenizer.json", parameters.max_length)
    make_deterministic(parameters.seed)

    backbone, tokenizer = in_the_apps_words(checkpoint, tokenizer, training_set, by, parameters)
    sequences = encode(tokenizer, training_set.rows["text"].to_list())
    continue_pretraining(backbone, checkpoint, tokenizer, training_set, by, sequences, parameters)
    teacher = teacher_of(backbone, training_set, parameters)
    learned = sum(int(np.prod(weight.shape)) for weight in teacher.upper.trainable_variables)
    logger.info("%d rows to learn from; %s: %d weights learn", len(labeled), parameters.method, learned)
    settings = parameters.model_dump(exclude={"log"}) | {"hardware": read_parameters("hardware", Hardware).model_dump()}
    run = fingerprint([places.training_set, *(checkpoint / name for name in NEEDED)], settings)
    started = cpu_seconds()
    with (
        tempfile.TemporaryDirectory() as scratch,
        run_log(places.tensorboard / run[:12], parameters.log, places.app, settings) as log,
    ):
        states = hidden_states(teacher, sequences, Path(scratch) / "hidden_states.npy")
        frozen_s = cpu_seconds() - started
        lesson = lesson_of(states, training_set, labeled, parameters)
        sets = watched_sets(states, training_set, labeled, by, parameters.seed)
        history = fine_tune(teacher, lesson, sets, parameters, places.teach_states / f"{run}.safetensors", log)
        logits = upper_logits(teacher, states)

    shape, weights = plain_shape(teacher), plain_weights(teacher)
    write_model(
        Model(training_set.labels, parameters.max_length, (shape.size,), shape, weights, tokenizer), places.teacher
    )
    write_logits(training_set, logits, places.logits)
    write_report(history, by, len(labeled), learned, parameters, places.teach_report)

    started = cpu_seconds()
    full_step_s = time_full_steps(backbone, [sequences[row] for row in labeled], training_set, labeled, parameters)
    usage.figures |= {
        "rows": len(labeled),
        "steps": history.steps,
        # Frozen layers once, then the steps: what the uncut figure compares with.
        "train_cpu_s": round(frozen_s + history.cpu_s, 2),
        "measuring_cpu_s": round(cpu_seconds() - started, 2),  # spent on timing the uncut way, not on the teacher
        "full_step_s": round(full_step_s, 4),
        "uncut_cpu_s_extrapolated": round(history.steps * full_step_s, 2),
    }
    leave_meter(places, usage, earlier=carry_forward(places, EARLIER))
    shutil.rmtree(places.teach_states, ignore_errors=True)  # all is written: nothing is left to go on from


def in_the_apps_words(
    checkpoint: Path, tokenizer: Tokenizer, training_set: TrainingSet, by: Sample, parameters: TeachParameters
) -> tuple[Any, Tokenizer]:
    """Load the checkpoint, with words of the texts that may be learned from added to its vocabulary, where ``added_words`` says so."""
    backbone = load_backbone(checkpoint)
    texts = training_set.rows["text"].filter(pl.Series(learned_from(training_set, by))).to_list()
    backbone, tokenizer, added = add_words(backbone, tokenizer, texts, parameters.added_words, checkpoint)
    if added:
        logger.info("%d words of the app's own texts added to the vocabulary", added)
    return backbone, tokenizer


def continue_pretraining(
    backbone: Any,
    checkpoint: Path,
    tokenizer: Tokenizer,
    training_set: TrainingSet,
    by: Sample,
    sequences: list[np.ndarray],
    parameters: TeachParameters,
) -> None:
    """Have the checkpoint read the app's own texts first, where ``pretrain_epochs`` says so; none that anything is chosen by."""
    if parameters.pretrain_epochs:
        texts = [sequences[row] for row in np.flatnonzero(learned_from(training_set, by))]
        special = np.asarray(sorted(tokenizer.get_added_tokens_decoder()), dtype=np.int32)
        hidden = tokenizer.token_to_id("[MASK]")
        if hidden is None:
            raise CheckpointError(
                f"{checkpoint}: its tokenizer has no [MASK] to pretrain with; set teach.pretrain_epochs to 0"
            )
        pretrain(backbone, checkpoint, texts, special, hidden, parameters.pretrain_epochs, parameters.seed)


def teacher_of(backbone: Any, training_set: TrainingSet, parameters: TeachParameters) -> Teacher:
    """Return the teacher that the parameters ask for."""
    return split_teacher(
        backbone,
        len(training_set.labels),
        parameters.trainable_layers,
        parameters.dropout,
        parameters.method,
        parameters.rank,
        parameters.pooling,
    )


def trainable_rows(training_set: TrainingSet, by: Sample, path: Path) -> np.ndarray:
    """Return the numbers of the rows to train on: split ``train`` with a weight above 0, none held back.

    Raises
    ------
    DataError
        If there are none, or all are of one class: a classifier of one class learns nothing.
    """
    rows = training_set.rows.with_row_index("number").join(by.learning, on="row_id", how="semi", maintain_order="left")
    rows = rows.filter((pl.col("split") == "train") & (pl.col("weight") > 0))
    classes = rows["label"].unique().to_list()
    if len(classes) < 2:
        found = [training_set.labels[label] for label in classes]
        raise DataError(
            f"{path}: expected train rows of at least two labels, got {rows.height} rows of {found}; "
            "write labeling functions for the other labels, or lower audit.min_confidence in params.yaml"
        )
    return rows["number"].to_numpy().astype(np.int64)


def row_weights(training_set: TrainingSet, rows: np.ndarray) -> np.ndarray:
    """Return the rows' weights in the loss, float32, scaled to a mean of 1 so that the learning rate keeps its meaning."""
    weights = training_set.rows["weight"].to_numpy()[rows].astype(np.float32)
    return weights / weights.mean()


def soft_labels(training_set: TrainingSet) -> np.ndarray:
    """Return every row's probabilities, float32 of shape ``(rows, classes)``."""
    return np.asarray(training_set.rows["probabilities"].to_list(), dtype=np.float32)


def lesson_of(
    states: list[np.ndarray], training_set: TrainingSet, labeled: np.ndarray, parameters: TeachParameters
) -> Lesson:
    """Return what the teacher learns from: the labeled rows' states, their soft labels and what a bag says of them, their weights."""
    texts, weights = training_set.rows["text"].gather(labeled).to_list(), row_weights(training_set, labeled)
    labels, share = soft_labels(training_set)[labeled], parameters.second_opinion
    targets = with_second_opinion(texts, labels, weights, share, parameters.max_length, parameters.seed)
    return Lesson([states[row] for row in labeled], targets, weights)


def watched_sets(
    states: list[np.ndarray], training_set: TrainingSet, labeled: np.ndarray, by: Sample, seed: int
) -> dict[str, Watched]:
    """Return what each epoch is scored on: some of the rows that it learned from, and those held back for the choice."""
    labels = training_set.rows["label"].to_numpy()
    numbered = training_set.rows.with_row_index("number")
    dev = numbered.join(by.choice, on="row_id", how="semi", maintain_order="left")["number"].to_numpy()
    train = np.random.default_rng(seed).permutation(labeled)[:WATCHED_ROWS]
    sets = {"train": train, "dev": dev}
    return {name: Watched([states[row] for row in rows], labels[rows]) for name, rows in sets.items()}


def write_report(
    history: History, by: Sample, rows: int, learned: int, parameters: TeachParameters, path: Path
) -> None:
    """Write how it went: figures of the kept epoch, then every epoch's; no clock in it, so that a repeat is the same."""
    kept = history.best_epoch if parameters.keep_best and history.best_epoch else len(history.scores)
    report = {
        "method": parameters.method,
        "rows": rows,
        "weights_learned": learned,
        "dev": by.origin,
        "kept": history.scores[kept - 1],
        "stopped_early": history.stopped,
        "epochs": history.scores,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def optimizer(steps: int, parameters: TeachParameters) -> Any:
    """Return the optimizer of a run of so many steps."""
    return adamw(parameters.learning_rate, steps, parameters.warmup, parameters.weight_decay)


def time_full_steps(
    backbone: Any,
    sequences: list[np.ndarray],
    training_set: TrainingSet,
    labeled: np.ndarray,
    parameters: TeachParameters,
) -> float:
    """Return the CPU seconds of a training step with nothing frozen, the mean over a few steps on a throw-away copy.

    The statement's uncut way trains all layers; this is what a step of it costs on a batch of median length.
    """
    copy = untrained_copy(backbone)
    whole = split_teacher(copy, len(training_set.labels), 0, parameters.dropout, "full")
    training = SoftLabelTraining(whole.upper, optimizer(TIMED_STEPS, parameters))
    probabilities, weights = soft_labels(training_set), row_weights(training_set, labeled)
    lengths = np.asarray([len(sequence) for sequence in sequences])
    batches = length_grouped(lengths, parameters.batch_size, np.random.default_rng(parameters.seed))
    batch = sorted(batches, key=lambda rows: int(lengths[rows].max()))[len(batches) // 2]
    inputs = upper_inputs([sequences[row] for row in batch])

    def step() -> float:
        return training.step(inputs, probabilities[labeled[batch]], weights[batch])

    step()  # traces the graph
    started = cpu_seconds()
    for _ in range(TIMED_STEPS):
        step()
    return (cpu_seconds() - started) / TIMED_STEPS


if __name__ == "__main__":
    run_stage("teach", on_hardware(main))
