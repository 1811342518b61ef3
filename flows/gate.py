"""Whether a new model may replace the one that is released."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labeling.training_set import read_training_set
from ledger.account import read
from ledger.errors import CheckpointError, DataError
from ledger.places import Places
from training.quality import RESAMPLES, macro_f1
from training.sample import sample


@dataclass(frozen=True)
class Compared:
    """The new model and the released one, both on the rows of today that models are chosen by: gold, never test.

    Attributes
    ----------
    new, current : float
        Macro-F1.
    difference : tuple of float
        95 % interval of new minus current, over resampled rows (paired).
    """

    new: float
    current: float
    difference: tuple[float, float]

    @property
    def worse(self) -> bool:
        """Whether the new one is worse beyond the interval: even its high end is below zero."""
        return self.difference[1] < 0

    def told(self) -> str:
        """Say it in words."""
        low, high = self.difference
        return f"macro-F1 {self.new:.4f}, released {self.current:.4f} (difference {low:+.4f} to {high:+.4f}, 95 %)"


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes
    ----------
    passed : bool
        Whether the new model becomes the released one.
    why : str
        In words, for whoever is told.
    """

    passed: bool
    why: str


def judge(gates: dict[str, Any], compared: Compared | None, current: str | None) -> Verdict:
    """Decide: every gate of params.yaml, and not worse than the released model beyond the interval.

    Parameters
    ----------
    gates : dict
        ``gates`` of ``metrics.json``: ``passed`` and ``misses``.
    compared : Compared or None
        None where there is nothing to compare with.
    current : str or None
        The released version; None for none.
    """
    if not gates["passed"]:
        missed = ", ".join(f"{gate} by {amount:g}" for gate, amount in gates["misses"].items())
        return Verdict(False, f"misses the gates of params.yaml: {missed}")
    if current is None:
        return Verdict(True, "passes the gates; nothing was released before")
    if compared is None:
        return Verdict(True, f"passes the gates; {current} answers other labels, so the two cannot be compared")
    if compared.worse:
        return Verdict(False, f"worse than {current} beyond the interval: {compared.told()}")
    return Verdict(True, f"passes the gates, not worse than {current}: {compared.told()}")


def compare(places: Places, released: Path, threads: int, seed: int) -> Compared | None:
    """Let the new and the released model answer the rows that models are chosen by; None where they answer other labels.

    These are the gold sample, from which neither learns, or train rows held back where there is no gold; the test has no say.

    Parameters
    ----------
    places : Places
        The app's files, as `evaluate` has left them.
    released : Path
        The folder of the released model.
    threads : int
        CPU threads of each.
    seed : int
        Of the bootstrap.

    Raises
    ------
    DataError
        If there are no such rows.
    CheckpointError
        If a model cannot be read.
    """
    from training.runtime import load  # a runtime and NumPy

    new, current = load(places.published, threads), load(released, threads)
    if new.labels != current.labels:
        return None
    rows = sample(read_training_set(places.training_set)).choice
    if not rows.height:
        raise DataError(
            f"{places.training_set}: expected gold or train rows to compare models by; label some rows by hand"
        )
    texts, truth = rows["text"].to_list(), rows["label"].to_numpy().astype(np.int64)
    answers = [classifier.predict(texts).argmax(axis=1) for classifier in (new, current)]
    classes = len(new.labels)
    return Compared(
        new=macro_f1(truth, answers[0], classes),
        current=macro_f1(truth, answers[1], classes),
        difference=difference_interval(truth, answers[0], answers[1], classes, seed),
    )


def difference_interval(
    truth: np.ndarray, one: np.ndarray, other: np.ndarray, classes: int, seed: int
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of one's macro-F1 minus another's, both on the same resampled rows.

    Parameters
    ----------
    truth, one, other : np.ndarray
        Labels, int64 of shape (rows,).
    classes : int
        How many labels there are.
    seed : int
        Of the draw.

    Examples
    --------
    >>> truth = np.array([0, 1] * 50)
    >>> difference_interval(truth, truth, truth, classes=2, seed=1)
    (0.0, 0.0)
    """
    drawn = np.random.default_rng(seed).integers(0, len(truth), size=(RESAMPLES, len(truth)))
    found = [macro_f1(truth[rows], one[rows], classes) - macro_f1(truth[rows], other[rows], classes) for rows in drawn]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def read_gates(places: Places) -> dict[str, Any]:
    """Return what `evaluate` says of the gates; raise a CheckpointError where the figures are those of another model."""
    gates: dict[str, Any] = read(places.metrics).content["gates"]
    if not places.published.is_dir():
        raise CheckpointError(f"{places.published}: no model there; run the pipeline first (pricecut run {places.app})")
    return gates
