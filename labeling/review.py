"""Chooses the rows most worth a human's minute, each with its reason."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from labeling.corpus import read_corpus
from labeling.duplicates import normalize, shingles, similarity
from labeling.functions.vocabulary import ABSTAIN
from labeling.gold import read_answers, standing_answers
from labeling.tables import read_table
from labeling.uncovered import cluster_texts, vectors_for
from ledger.places import Places

LABEL_ISSUE, UNSURE, DISAGREE = "label issue", "unsure", "functions disagree"
UNCOVERED, RANDOM = "uncovered", "random"

SHARES = {LABEL_ISSUE: 0.30, UNSURE: 0.30, DISAGREE: 0.15, UNCOVERED: 0.15, RANDOM: 0.10}
"""How a batch is divided; what a reason cannot fill goes to the others. The random rows find what all other reasons overlook."""

ALIKE = 0.5
"""Jaccard similarity of character 5-grams from which a row teaches little beside one chosen already."""


@dataclass(frozen=True)
class Question:
    """A row to be labeled by a person.

    Attributes
    ----------
    row_id, text : str
        The row.
    guess : str
        The label model's likeliest label.
    confidence : float
        Its probability, rounded to 4 digits.
    why : str
        Why this row: ``label issue`` (cleanlab's), ``unsure`` (the label model), ``functions disagree``, ``uncovered`` (stands for
        a cluster that no function votes on), ``random``.
    """

    row_id: str
    text: str
    guess: str
    confidence: float
    why: str

    def as_json(self) -> dict[str, Any]:
        """Return it as a mapping."""
        return asdict(self)


@dataclass(frozen=True)
class Pool:
    """The rows that may be asked about: train rows without an answer; never a gold or a test row.

    Attributes
    ----------
    rows : pl.DataFrame
        ``row_id``, ``text``.
    matrix : np.ndarray
        int8 of shape (rows, functions).
    probabilities : np.ndarray
        float of shape (rows, classes).
    issues : tuple of str
        The ``row_id`` of cleanlab's label issues, the likeliest first.
    silent : np.ndarray
        int of shape (silent rows,): positions of the rows that no function votes on.
    vectors : np.ndarray
        float32 of shape (silent rows, width): their embeddings, or vectors of their words.
    """

    rows: pl.DataFrame
    matrix: np.ndarray
    probabilities: np.ndarray
    issues: tuple[str, ...]
    silent: np.ndarray
    vectors: np.ndarray


def read_pool(places: Places) -> tuple[tuple[str, ...], Pool]:
    """Read the app's labels and the rows that may be asked about, from what `fuse`, `vote`, `label` and `audit` wrote."""
    labels, corpus = read_corpus(places.corpus)
    tables = {path: read_table(path, corpus) for path in (places.votes, places.labels)}
    answers, _ = standing_answers(
        read_answers(places.gold_answers, labels), dict(corpus.select("row_id", "text").iter_rows())
    )
    free = ((corpus["split"] == "train") & ~corpus["row_id"].is_in(list(answers))).to_numpy()
    rows = corpus.select("row_id", "text").filter(pl.Series(free))
    queue = pl.read_csv(places.review_queue, infer_schema=False) if places.review_queue.exists() else None
    issues = () if queue is None else tuple(queue.filter(pl.col("why") == LABEL_ISSUE)["row_id"].to_list())
    matrix = tables[places.votes].drop("row_id").to_numpy().astype(np.int8)[free]
    probabilities = np.array(tables[places.labels]["probabilities"].to_list(), dtype=np.float64)
    silent = np.flatnonzero((matrix == ABSTAIN).all(axis=1))
    vectors = vectors_for(places, rows[silent.tolist()])
    return labels, Pool(rows, matrix, probabilities.reshape(-1, len(labels))[free], issues, silent, vectors)


def choose_questions(pool: Pool, labels: Sequence[str], count: int, seed: int = 1) -> list[Question]:
    """Choose rows by all reasons in turn, in proportion to SHARES: no two alike, the guessed labels in balance.

    Parameters
    ----------
    pool : Pool
        The rows that may be asked about.
    labels : sequence of str
        The app's.
    count : int
        How many; fewer where the pool runs out.
    seed : int
        Of the random rows and of the clusters.
    """
    guesses = pool.probabilities.argmax(axis=1)
    rankings = {
        LABEL_ISSUE: balanced(by_issue(pool), guesses),
        UNSURE: balanced(by_margin(pool), guesses),
        DISAGREE: balanced(by_disagreement(pool), guesses),
        UNCOVERED: by_cluster(pool, count, seed),
        RANDOM: by_hash(pool, seed),
    }
    texts = pool.rows["text"].to_list()
    ids = pool.rows["row_id"].to_list()
    return [
        Question(ids[i], texts[i], labels[guesses[i]], round(float(pool.probabilities[i].max()), 4), why)
        for i, why in take_in_turn(rankings, texts, count)
    ]


def take_in_turn(rankings: Mapping[str, Iterable[int]], texts: Sequence[str], count: int) -> list[tuple[int, str]]:
    """Take rows from rankings in proportion to SHARES, passing over what is like a row taken before."""
    queues: dict[str, Iterator[int]] = {why: iter(ranking) for why, ranking in rankings.items()}
    taken: dict[str, int] = dict.fromkeys(queues, 0)
    chosen: dict[int, str] = {}
    seen: list[frozenset[str]] = []
    while queues and len(chosen) < count:
        why = max(queues, key=lambda name: SHARES[name] * (len(chosen) + 1) - taken[name])
        for i in queues[why]:
            grams = shingles(normalize(texts[i]))
            if i in chosen or any(similarity(grams, other) >= ALIKE for other in seen):
                continue
            chosen[i] = why
            seen.append(grams)
            taken[why] += 1
            break
        else:
            del queues[why]
    return list(chosen.items())


def balanced(ranking: Sequence[int], guesses: np.ndarray) -> list[int]:
    """Interleave the guessed labels: each label's first row, each one's second, and so on; within a round as ranked."""
    passed: dict[int, int] = {}
    rounds = []
    for place, i in enumerate(ranking):
        rounds.append((passed.get(int(guesses[i]), 0), place, i))
        passed[int(guesses[i])] = rounds[-1][0] + 1
    return [i for _, _, i in sorted(rounds)]


def by_issue(pool: Pool) -> list[int]:
    """Rank cleanlab's label issues as the audit ranked them."""
    position = {row_id: i for i, row_id in enumerate(pool.rows["row_id"].to_list())}
    return [position[row_id] for row_id in pool.issues if row_id in position]


def by_margin(pool: Pool) -> list[int]:
    """Rank covered rows by how little the likeliest label is ahead of the next (margin sampling: Scheffer et al. 2001)."""
    ranked = np.sort(pool.probabilities, axis=1)
    margin = (ranked[:, -1] - ranked[:, -2]).round(9)
    covered = np.flatnonzero((pool.matrix != ABSTAIN).any(axis=1))
    return [int(i) for i in covered[np.argsort(margin[covered], kind="stable")]]


def by_disagreement(pool: Pool) -> list[int]:
    """Rank rows on which functions differ by the entropy of their votes (query by committee: Dagan and Engelson 1995)."""
    counts = np.stack([(pool.matrix == k).sum(axis=1) for k in range(pool.probabilities.shape[1])], axis=1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1).round(9)
    differing = np.flatnonzero(entropy > 0)
    order = np.lexsort((-counts[differing].sum(axis=1), -entropy[differing]))
    return [int(i) for i in differing[order]]


def by_cluster(pool: Pool, count: int, seed: int) -> list[int]:
    """Rank rows that no function votes on: the row nearest to each cluster's centre, the largest cluster first, then each one's second."""
    clusters = cluster_texts(pool.rows[pool.silent.tolist()], pool.vectors, (), None, seed)
    rounds = [
        (place, number, i)
        for number, cluster in enumerate(clusters)
        for place, i in enumerate(cluster.members[: max(count, 1)])
    ]
    return [int(pool.silent[i]) for _, _, i in sorted(rounds)]


def by_hash(pool: Pool, seed: int) -> list[int]:
    """Order all rows at random, by a hash of each one's name: the others do not move it."""
    names = [hashlib.blake2b(f"{seed}:{row_id}".encode(), digest_size=8).digest() for row_id in pool.rows["row_id"]]
    return sorted(range(len(names)), key=lambda i: names[i])
