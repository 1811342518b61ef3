"""Fine-tunes a teacher epoch by epoch: scored, kept when best, stopped when no better, and resumable after each epoch."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ledger.meter import cpu_seconds
from ledger.parameters import Parameters
from training.batches import length_grouped
from training.progress import Progress
from training.resume import read_state, write_state
from training.schedule import adamw
from training.soft_label_training import SoftLabelTraining
from training.teacher import Teacher, upper_inputs, upper_logits

logger = logging.getLogger(__name__)

Scores = dict[str, float | None]
"""What an epoch came to: ``epoch``, ``loss``, and ``<set>_accuracy``, ``<set>_loss`` of each watched set; None: it has no rows."""


class Recipe(Parameters):
    """What fine-tuning reads of the section ``teach``; docs/parameters.md explains each key."""

    epochs: int = Field(ge=1)
    patience: int | None = Field(ge=1)
    batch_size: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    token_dropout: float = Field(ge=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    keep_best: bool
    seed: int


@dataclass(frozen=True)
class Lesson:
    """What is learned from.

    Attributes
    ----------
    states : list of np.ndarray
        Of each text, what the teacher's upper part takes.
    probabilities : np.ndarray
        Soft labels, float32 of shape ``(texts, classes)``.
    weights : np.ndarray
        In the loss, float32 of shape ``(texts,)``.
    """

    states: list[np.ndarray]
    probabilities: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Watched:
    """Texts of known labels, on which an epoch is scored: states as in Lesson, labels as int of shape ``(texts,)``."""

    states: list[np.ndarray]
    labels: np.ndarray


@dataclass
class History:
    """How a run has gone so far.

    Attributes
    ----------
    scores : list of Scores
        An epoch each.
    steps : int
        Batches learned from.
    best_epoch : int
        Counted from 1, by the lowest loss on ``dev``; 0 where ``dev`` has no rows.
    best_loss : float or None
        Its loss.
    cpu_s : float
        CPU seconds in the epochs, those of a killed run that was resumed included.
    stopped : bool
        Whether patience ran out.
    """

    scores: list[Scores] = field(default_factory=list)
    steps: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    cpu_s: float = 0.0
    stopped: bool = False


def fine_tune(
    teacher: Teacher,
    lesson: Lesson,
    watched: Mapping[str, Watched],
    recipe: Recipe,
    store: Path | None = None,
    log: Callable[[int, Scores], None] | None = None,
) -> History:
    """Train the teacher's upper part on soft labels and row weights.

    Noisy labels are first generalized from, then learned by heart (Arpit et al. 2017, https://arxiv.org/abs/1706.05394),
    so the epoch with the lowest loss on ``watched["dev"]`` is kept if ``keep_best`` says so.

    Parameters
    ----------
    teacher : Teacher
        Its ``upper`` is trained in place.
    lesson : Lesson
        What it learns from.
    watched : mapping of str to Watched
        Scored after each epoch; ``dev`` decides which epoch is kept and when to stop, the others nothing.
    recipe : Recipe
        The section ``teach``.
    store : Path or None
        A file that holds all that the run needs to go on after an epoch. If it is there, the run goes on from it, to
        the bytes of a run that was never disturbed.
    log : callable
        Told each epoch and its scores.
    """
    lengths = np.asarray([len(state) for state in lesson.states])
    batches = -(-len(lengths) // recipe.batch_size)
    optimizer = adamw(recipe.learning_rate, recipe.epochs * batches, recipe.warmup, recipe.weight_decay)
    training = SoftLabelTraining(teacher.upper, optimizer, recipe.accumulate)
    random = np.random.default_rng(recipe.seed)
    targets = smoothed(lesson.probabilities, recipe.label_smoothing)
    history, best = History(), teacher.upper.get_weights()
    if store is not None and store.is_file():
        history, best = _resumed(store, training, random)
        logger.info("resumed after epoch %d", len(history.scores))
    training.refuse_unequal(len(history.scores))
    progress = Progress(logger, recipe.epochs, len(lengths), len(history.scores))
    for epoch in range(len(history.scores) + 1, recipe.epochs + 1):
        if history.stopped:
            break
        started, losses = cpu_seconds(), []
        for batch in length_grouped(lengths, recipe.batch_size, random):
            inputs = upper_inputs([thinned(lesson.states[row], recipe.token_dropout, random) for row in batch])
            losses.append(training.step(inputs, targets[batch], lesson.weights[batch]))
            progress.rows(epoch, len(batch))
        scores = _score(teacher, watched) | {"epoch": epoch, "loss": round(float(np.mean(losses)), 6)}
        history.scores.append(scores)
        history.steps += batches
        loss = scores["dev_loss"]
        if loss is not None and (history.best_loss is None or loss < history.best_loss):
            history.best_epoch, history.best_loss, best = epoch, loss, teacher.upper.get_weights()
        worse = epoch - history.best_epoch
        history.stopped = bool(loss is not None and recipe.patience is not None and worse >= recipe.patience)
        history.cpu_s += cpu_seconds() - started
        if store is not None:
            _write(store, history, best, training, random)
        if log is not None:
            log(epoch, scores)
        progress.epoch(epoch, {name: value for name, value in scores.items() if name != "epoch"})
    if history.stopped:
        logger.info("stopped: no better on dev for %d epochs", recipe.patience)
    if recipe.keep_best and history.best_epoch:
        teacher.upper.set_weights(best)
    return history


def thinned(state: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Leave out a share of a text's tokens, drawn anew at each reading; the first and last, which are special, stay.

    Word dropout (Iyyer et al. 2015, https://aclanthology.org/P15-1162, section 3.2): no single word is learned by heart.
    """
    if not share:
        return state
    kept = random.random(len(state)) >= share
    kept[[0, -1]] = True
    return state[kept]


def smoothed(probabilities: np.ndarray, share: float) -> np.ndarray:
    """Give a share of each row's probability to all labels alike (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, 7)."""
    return probabilities if not share else (1 - share) * probabilities + np.float32(share / probabilities.shape[1])


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy of logits ``(n, classes)`` against int labels ``(n,)``; n is at least 1."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-np.mean(log_probabilities[np.arange(len(labels)), labels]))


def _score(teacher: Teacher, watched: Mapping[str, Watched]) -> Scores:
    scores: Scores = {}
    for name, texts in watched.items():
        if not len(texts.labels):
            scores |= {f"{name}_accuracy": None, f"{name}_loss": None}
            continue
        logits = upper_logits(teacher, texts.states)
        right = float(np.mean(logits.argmax(axis=1) == texts.labels))
        scores |= {
            f"{name}_accuracy": round(right, 6),
            f"{name}_loss": round(cross_entropy(logits, texts.labels), 6),
        }
    return scores


def _write(store: Path, history: History, best: list[Any], training: SoftLabelTraining, random: Any) -> None:
    # By place, not by name: Keras counts the names of its random generators through a process's life.
    arrays = {f"training/{number}": value for number, value in enumerate(training.state().values())}
    arrays |= {f"best/{number}": np.asarray(value) for number, value in enumerate(best)}
    write_state(store, arrays, {"history": asdict(history), "random": random.bit_generator.state})


def _resumed(store: Path, training: SoftLabelTraining, random: Any) -> tuple[History, list[np.ndarray]]:
    arrays, facts = read_state(store)
    names = list(training.state())
    training.restore({name: arrays[f"training/{number}"] for number, name in enumerate(names)})
    random.bit_generator.state = facts["random"]
    return History(**facts["history"]), [arrays[f"best/{number}"] for number in range(len(arrays) - len(names))]
