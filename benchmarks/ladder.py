"""The ladder of FastFormers' Table 3 (Kim and Hassan 2020, https://arxiv.org/abs/2010.13382): what each step adds, a rung a step.

Rates are of the whole machine, one text a request, tokenizing included. Up to the rung `instances` one process answers, its runtime on
all cores; from there on one process a core, its runtime on one, all answering at once. Processes are made anew for each rung and round,
rungs in turn, and the best round counts: what a neighbour takes only ever lowers a rate.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.artifact import MODEL_FILES, TOKENIZER_FILE, read_card
from training.quality import accuracy, macro_f1
from training.runtime import Classifier, Engine, litert_engine, load, network_answer
from training.tokenization import read_tokenizer

ROUNDS = 3
SECONDS = 1.0
"""Of each rung in each round."""
WARM_UP = 64
QUERIES = 100_000_000


@dataclass(frozen=True)
class Rung:
    """A way to serve.

    Attributes
    ----------
    step : str
        What it adds to the rung below.
    folder : Path
        Of the model served.
    padded : bool
        Whether every text is padded to the model's longest; only of LiteRT's.
    instances : bool
        Whether each core has a process of its own.
    """

    step: str
    folder: Path
    padded: bool = False
    instances: bool = False

    @property
    def model(self) -> tuple[Path, bool]:
        """What its answers depend on."""
        return self.folder, self.padded


def rungs(teacher: Path, whole: Path, whole_int8: Path, student: Path, chosen: Path) -> list[Rung]:
    """Return the ladder's rungs: of the teacher, the largest student, the cheapest network that passes, and what is chosen."""
    found = [
        Rung("the teacher, fp32, padded", teacher, padded=True),
        Rung("+ true lengths", teacher),
        Rung("+ distillation, heads and neurons pruned", whole),
        Rung("+ int8", whole_int8),
        Rung("+ an instance a core", whole_int8, instances=True),
        Rung("+ the smallest slice that passes", student, instances=True),
    ]
    return found if chosen == student else [*found, Rung("+ another algorithm", chosen, instances=True)]


def climb(
    ladder: Sequence[Rung], texts: Sequence[str], truth: np.ndarray, classes: int, cpu_hour: float
) -> list[dict[str, Any]]:
    """Measure each rung: its rate beside the first's, its score on the texts, and the price of 100 million queries.

    Parameters
    ----------
    ladder : sequence of Rung
        From the uncut one on.
    texts : sequence of str
        Asked in turn.
    truth : np.ndarray
        Their labels, int of shape ``(texts,)``.
    classes : int
        How many labels there are.
    cpu_hour : float
        The price of a core for an hour; the machine's cores are all paid, whether they work or not.
    """
    cores = os.cpu_count() or 1
    best = [0.0] * len(ladder)
    for _ in range(ROUNDS):
        for number, rung in enumerate(ladder):
            best[number] = max(best[number], rate(rung, texts, cores))
    answered = {rung.model: opened(rung, 1).predict(texts).argmax(axis=1) for rung in ladder}
    found = []
    for rung, queries_s in zip(ladder, best, strict=True):
        answers = answered[rung.model]
        found.append(
            {
                "step": rung.step,
                "model": read_card(rung.folder).name,
                "speed_up": queries_s / best[0],
                "queries_s": queries_s,
                "macro_f1": macro_f1(truth, answers, classes),
                "accuracy": accuracy(truth, answers),
                "price_100m": QUERIES / queries_s / 3600 * cores * cpu_hour,
            }
        )
    return found


def opened(rung: Rung, threads: int) -> Classifier:
    """Open a rung's model as it is served there."""
    if not rung.padded:
        return load(rung.folder, threads)
    card = read_card(rung.folder)
    tokenizer = read_tokenizer(rung.folder / TOKENIZER_FILE, card.max_length)
    engine = to_full_length(litert_engine(rung.folder / MODEL_FILES[card.format], threads), card.max_length)
    return Classifier(card, network_answer(tokenizer, engine, len(card.labels)))


def to_full_length(engine: Engine, length: int) -> Engine:
    """Pad every batch to the longest text the model takes, as one does who exports a graph of one shape."""

    def run(batch: np.ndarray) -> np.ndarray:
        return engine(np.pad(batch, ((0, 0), (0, length - batch.shape[1]))))

    return run


def rate(rung: Rung, texts: Sequence[str], cores: int) -> float:
    """Return the queries a second of all processes together."""
    processes, threads = (cores, 1) if rung.instances else (1, cores)
    # NumPy's, which reads them as it is imported.
    os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(threads))
    context = multiprocessing.get_context("spawn")  # a fork would inherit runtimes' threads
    barrier, answered = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=serve, args=(rung, list(texts), threads, barrier, answered)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    rates = [answered.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def serve(rung: Rung, texts: list[str], threads: int, barrier: Any, answered: Any) -> None:
    """Answer one text after the other for a second, and tell the rate; a process of its own."""
    os.environ["RAYON_NUM_THREADS"] = "1"  # one text is tokenized by one thread
    classifier = opened(rung, threads)
    for number in range(WARM_UP):
        classifier.predict([texts[number % len(texts)]])
    barrier.wait(timeout=600)
    started, number = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        classifier.predict([texts[number % len(texts)]])
        number += 1
    answered.put(number / (time.perf_counter() - started))


def mean_ladder(ladders: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the mean over the sets of each rung; speed-ups as a geometric mean. A set without the last rung stays on its own last."""
    longest = max(ladders, key=len)
    found = []
    for number, rung in enumerate(longest):
        rows = [ladder[min(number, len(ladder) - 1)] for ladder in ladders]
        found.append(
            {
                "step": rung["step"],
                "speed_up": float(np.exp(np.mean(np.log([row["speed_up"] for row in rows])))),
                "macro_f1": float(np.mean([row["macro_f1"] for row in rows])),
                "price_100m": float(np.mean([row["price_100m"] for row in rows])),
            }
        )
    return found
