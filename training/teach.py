"""Stage `teach`: fine-tune the teacher on the training set's soft labels.

Only the last layers learn; what the frozen ones say of a text never changes, so it is computed once.
Gold rows are never trained on: they say, epoch by epoch, how far the teacher has come, and which epoch to keep.
"""

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
from pydantic import Field

from labeling.checkpoint import resolve_checkpoint
from labeling.training_set import TrainingSet, read_training_set
from ledger.errors import DataError
from ledger.meter import Usage, carry_forward, cpu_seconds
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage
from training.batches import length_grouped
from training.determinism import make_deterministic
from training.meters import leave_meter
from training.model_files import Model, write_model
from training.parallel import on_hardware
from training.sample import Sample, sample
from training.schedule import adamw
from training.soft_label_training import SoftLabelTraining
from training.teacher import (
    Teacher,
    hidden_states,
    load_backbone,
    plain_shape,
    plain_weights,
    split_teacher,
    upper_inputs,
    upper_logits,
    whole_inputs,
)
from training.tokenization import encode, pad, read_tokenizer

logger = logging.getLogger(__name__)

EARLIER = ("collect", "fuse", "embed", "vote", "label", "audit")
TIMED_STEPS = 2


class TeachParameters(Parameters):
    """The section ``teach`` of ``params.yaml``."""

    checkpoint: str
    max_length: int = Field(ge=8, le=512)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    dropout: float = Field(ge=0, lt=1)
    trainable_layers: int = Field(ge=0)
    keep_best: bool
    seed: int


def main(places: Places, usage: Usage) -> None:
    """Read the training set, fine-tune, and write the teacher, its logits and the meter."""
    parameters = read_parameters("teach", TeachParameters)
    training_set = read_training_set(places.training_set)
    by = sample(training_set)
    labeled = trainable_rows(training_set, by, places.training_set)
    checkpoint = resolve_checkpoint(parameters.checkpoint)
    tokenizer = read_tokenizer(checkpoint / "tokenizer.json", parameters.max_length)
    make_deterministic(parameters.seed)

    sequences = encode(tokenizer, training_set.rows["text"].to_list())
    backbone = load_backbone(checkpoint)
    teacher = split_teacher(backbone, len(training_set.labels), parameters.trainable_layers, parameters.dropout)
    logger.info(
        "%d rows to learn from; %d of %d layers learn", len(labeled), parameters.trainable_layers, backbone.num_layers
    )
    started = cpu_seconds()
    with tempfile.TemporaryDirectory() as scratch:
        states = hidden_states(teacher, sequences, Path(scratch) / "hidden_states.npy")
        logger.info("frozen layers computed once for %d texts", len(states))
        steps = fine_tune(teacher, states, training_set, labeled, by, parameters)
        trained_s = cpu_seconds() - started
        logits = upper_logits(teacher, states)

    shape, weights = plain_shape(teacher), plain_weights(teacher)
    write_model(
        Model(training_set.labels, parameters.max_length, (shape.size,), shape, weights, tokenizer), places.teacher
    )
    write_logits(training_set, logits, places.logits)

    started = cpu_seconds()
    full_step_s = time_full_steps(backbone, [sequences[row] for row in labeled], training_set, labeled, parameters)
    usage.figures |= {
        "rows": len(labeled),
        "steps": steps,
        "train_cpu_s": round(trained_s, 2),  # frozen layers once, then the steps: what the uncut figure compares with
        "measuring_cpu_s": round(cpu_seconds() - started, 2),  # spent on timing the uncut way, not on the teacher
        "full_step_s": round(full_step_s, 4),
        "uncut_cpu_s_extrapolated": round(steps * full_step_s, 2),
    }
    leave_meter(places, usage, earlier=carry_forward(places, EARLIER))


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


def fine_tune(
    teacher: Teacher,
    states: list[np.ndarray],
    training_set: TrainingSet,
    labeled: np.ndarray,
    by: Sample,
    parameters: TeachParameters,
) -> int:
    """Train the teacher's upper part on soft labels and row weights, and return the number of steps taken.

    Noisy labels are first generalized from, then learned by heart (Arpit et al. 2017, https://arxiv.org/abs/1706.05394),
    so the epoch with the lowest loss on the choice sample is kept if ``keep_best`` says so.
    """
    probabilities, weights = soft_labels(training_set), row_weights(training_set, labeled)
    watched = training_set.rows.with_row_index("number").join(by.choice, on="row_id", how="semi", maintain_order="left")
    watched_states, watched_labels = [states[row] for row in watched["number"]], watched["label"].to_numpy()
    lengths = np.asarray([len(states[row]) for row in labeled])
    random = np.random.default_rng(parameters.seed)
    steps = parameters.epochs * -(-len(labeled) // parameters.batch_size)
    training = SoftLabelTraining(teacher.upper, optimizer(steps, parameters))
    best_loss, best_weights = np.inf, teacher.upper.get_weights()
    for epoch in range(parameters.epochs):
        started, losses = time.perf_counter(), []
        for batch in length_grouped(lengths, parameters.batch_size, random):
            rows = labeled[batch]
            inputs = upper_inputs([states[row] for row in rows])
            losses.append(training.step(inputs, probabilities[rows], weights[batch]))
        right, loss = watch(upper_logits(teacher, watched_states), watched_labels)
        if loss < best_loss:
            best_loss, best_weights = loss, teacher.upper.get_weights()
        seconds = time.perf_counter() - started
        message = "epoch %d/%d  loss %.4f  %.1f s  |  %s: accuracy %.3f, loss %.4f"
        logger.info(message, epoch + 1, parameters.epochs, np.mean(losses), seconds, by.origin, right, loss)
    if parameters.keep_best and np.isfinite(best_loss):
        teacher.upper.set_weights(best_weights)
    return steps


def watch(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return accuracy and cross-entropy against labels of known rows; NaN and infinity for no rows."""
    if not len(labels):
        return float("nan"), float("inf")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -np.mean(log_probabilities[np.arange(len(labels)), labels])
    return float(np.mean(logits.argmax(axis=1) == labels)), float(loss)


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
    copy = type(backbone).from_config(backbone.get_config())
    whole = split_teacher(copy, len(training_set.labels), backbone.num_layers, parameters.dropout)
    mask = next(tensor for tensor in copy.inputs if tensor.name == "padding_mask")
    model = keras.Model(copy.inputs, whole.upper([whole.lower.output, mask]))
    training = SoftLabelTraining(model, optimizer(TIMED_STEPS, parameters))
    probabilities, weights = soft_labels(training_set), row_weights(training_set, labeled)
    lengths = np.asarray([len(sequence) for sequence in sequences])
    batches = length_grouped(lengths, parameters.batch_size, np.random.default_rng(parameters.seed))
    batch = sorted(batches, key=lambda rows: int(lengths[rows].max()))[len(batches) // 2]
    ready = {name: np.asarray(part) for name, part in whole_inputs(pad([sequences[row] for row in batch])).items()}
    inputs = [ready[tensor.name] for tensor in model.inputs]

    def step() -> float:
        return training.step(inputs, probabilities[labeled[batch]], weights[batch])

    step()  # traces the graph
    started = cpu_seconds()
    for _ in range(TIMED_STEPS):
        step()
    return (cpu_seconds() - started) / TIMED_STEPS


def write_logits(training_set: TrainingSet, logits: np.ndarray, path: Path) -> None:
    """Write the logits of every row: ``row_id`` (str), ``logits`` (list of float32, one a label)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"row_id": training_set.rows["row_id"], "logits": pl.Series(logits.tolist(), dtype=pl.List(pl.Float32))}
    pl.DataFrame(table).write_parquet(path)


if __name__ == "__main__":
    run_stage("teach", on_hardware(main))
