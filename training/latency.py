"""How long a classifier takes, as a caller sees it: tokenization included."""

import time
from collections.abc import Sequence

import numpy as np

from training.runtime import Classifier

WARM_UP = 20
BATCH = 32
LEAST_SECONDS = 0.3


def latency_ms(classifier: Classifier, texts: Sequence[str], requests: int) -> float:
    """Return the median milliseconds of one request of one text, over texts in turn."""
    for number in range(WARM_UP):
        classifier.predict([texts[number % len(texts)]])
    taken = []
    for number in range(requests):
        text = [texts[number % len(texts)]]
        started = time.perf_counter()
        classifier.predict(text)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken) * 1000)


def throughput(classifier: Classifier, texts: Sequence[str]) -> float:
    """Return texts a second in batches of 32."""
    batch = [texts[number % len(texts)] for number in range(BATCH)]
    classifier.predict(batch, BATCH)
    started, batches = time.perf_counter(), 0
    while time.perf_counter() - started < LEAST_SECONDS:
        classifier.predict(batch, BATCH)
        batches += 1
    return batches * BATCH / (time.perf_counter() - started)
