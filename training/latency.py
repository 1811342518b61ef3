"""How long classifiers take, as a caller sees it: tokenization included. All are timed in turn, round by round."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.energy import joules_since, read_joules
from training.runtime import Classifier

ROUNDS = 5
WARM_UP = 20
BATCH = 64
LEAST_SECONDS = 0.3
"""Of batches, over all rounds."""
ENOUGH_SECONDS = 1.0
"""A classifier whose batches have taken so long is not given more of them: its rate decides nothing."""


@dataclass(frozen=True)
class Speed:
    """How fast a classifier answers.

    Attributes
    ----------
    latency_ms : float
        Of one request of one text: the lowest of the rounds' medians. What a neighbour takes only ever adds to it.
    latency_p95_ms : float
        The 95th percentile over all rounds, with what neighbours took.
    texts_per_s : float
        In batches of 64: the median round.
    joules_per_1000 : float or None
        Of the processor's package, for 1,000 requests of one text; None where the machine does not tell.
    """

    latency_ms: float
    latency_p95_ms: float
    texts_per_s: float
    joules_per_1000: float | None


@dataclass
class _Taken:
    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    joules: list[float | None] = field(default_factory=list)


def speeds(classifiers: Mapping[str, Classifier], texts: Sequence[str], requests: int) -> dict[str, Speed]:
    """Time classifiers, interleaved: a neighbour that makes the machine slow for a while slows all of them.

    Parameters
    ----------
    classifiers : mapping of str to Classifier
        By name.
    texts : sequence of str
        Asked in turn, the same ones of each classifier.
    requests : int
        Of one text, of each classifier, over all rounds.
    """
    taken = {name: _Taken() for name in classifiers}
    per_round = -(-requests // ROUNDS)
    batch = [texts[number % len(texts)] for number in range(BATCH)]
    for classifier in classifiers.values():
        _ask(classifier, texts, 0, WARM_UP)
        classifier.predict(batch, BATCH)
    for number in range(ROUNDS):
        for name, classifier in classifiers.items():
            into = taken[name]
            _ask(classifier, texts, number * per_round, 3)  # the caches hold what another classifier has read
            before = read_joules()
            into.seconds += _ask(classifier, texts, number * per_round, per_round)
            into.joules.append(joules_since(before))
            if sum(BATCH / rate for rate in into.rates) < ENOUGH_SECONDS:
                into.rates.append(_rate(classifier, batch))
    return {name: _speed(found, per_round) for name, found in taken.items()}


def _ask(classifier: Classifier, texts: Sequence[str], start: int, requests: int) -> list[float]:
    taken = []
    for number in range(start, start + requests):
        text = [texts[number % len(texts)]]
        started = time.perf_counter()
        classifier.predict(text)
        taken.append(time.perf_counter() - started)
    return taken


def _rate(classifier: Classifier, batch: list[str]) -> float:
    """Return texts a second in batches."""
    started, batches = time.perf_counter(), 0
    while not batches or time.perf_counter() - started < LEAST_SECONDS / ROUNDS:
        classifier.predict(batch, BATCH)
        batches += 1
    return batches * len(batch) / (time.perf_counter() - started)


def _speed(taken: _Taken, per_round: int) -> Speed:
    median = np.median(np.reshape(taken.seconds, (ROUNDS, per_round)), axis=1).min()
    high = np.percentile(taken.seconds, 95)
    told = [joules for joules in taken.joules if joules is not None]
    energy = float(np.median(told)) * 1000 / per_round if told else None
    return Speed(float(median * 1000), float(high * 1000), float(np.median(taken.rates)), energy)
