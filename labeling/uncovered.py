"""What no function speaks of: uncovered texts in clusters, each with the terms that tell it from the rest."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import normalize

from labeling.embeddings import read_embeddings
from labeling.features import condense
from ledger.errors import DataError
from ledger.places import Places

logger = logging.getLogger(__name__)

WIDTH = 64
"""Dimensions that TF-IDF is reduced to."""

MOST_CLUSTERS = 12
MANY_ROWS = 10_000
"""Rows from which k-means goes by mini-batches."""

REST = 20_000
"""Rows of the rest that terms are told from; more change little."""

COMMON = 0.1
"""Share of all rows from which a word is too common to stand in a pair: `reset` says what `reset the` says."""

TERMS, EXAMPLES = 8, 3


@dataclass(frozen=True)
class Cluster:
    """Texts that are alike.

    Attributes
    ----------
    size : int
        How many.
    terms : tuple of str
        Words and word pairs that are more frequent here than in all other rows, the surest first.
    examples : tuple of (str, str)
        ``row_id`` and text of those nearest to the cluster's centre.
    members : tuple of int
        The rows' positions, nearest to the centre first.
    """

    size: int
    terms: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    members: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as a mapping, without the members."""
        return {name: value for name, value in asdict(self).items() if name != "members"}


def cluster_texts(
    rows: pl.DataFrame, vectors: np.ndarray, others: Sequence[str], clusters: int | None, seed: int = 1
) -> list[Cluster]:
    """Cluster rows by k-means and name each cluster by its terms; the largest first. The same rows give the same clusters.

    Parameters
    ----------
    rows : pl.DataFrame
        ``row_id``, ``text``: those to cluster; none gives no cluster.
    vectors : np.ndarray
        float32 of shape (rows, width): an encoder's embeddings, or `vectors_of`.
    others : sequence of str
        The other train texts, from which the terms tell a cluster as well.
    clusters : int or None
        How many; None chooses by the number of rows, at most 12.
    seed : int
        Of k-means' starts.
    """
    if rows.height == 0:
        return []
    wanted = clusters or min(MOST_CLUSTERS, max(1, round(math.sqrt(rows.height / 2))))
    wanted = min(wanted, len(np.unique(vectors.round(5), axis=0)))
    method = KMeans if rows.height < MANY_ROWS else MiniBatchKMeans
    fitted = method(wanted, random_state=seed, n_init=4).fit(vectors)
    centres, assigned = fitted.cluster_centers_, fitted.labels_
    distances = np.linalg.norm(vectors - centres[assigned], axis=1)
    texts = rows["text"].to_list()
    terms = distinguishing_terms(texts, assigned, wanted, spread(others, REST))
    shown = rows.select("row_id", "text")
    found = []
    for number in range(wanted):
        members = np.flatnonzero(assigned == number)
        nearest = members[np.argsort(distances[members].round(6), kind="stable")]
        examples = tuple((str(a), str(b)) for a, b in (shown.row(int(i)) for i in nearest[:EXAMPLES]))
        found.append(Cluster(len(members), terms[number], examples, tuple(int(i) for i in nearest)))
    return sorted((cluster for cluster in found if cluster.size), key=lambda cluster: (-cluster.size, cluster.members))


def vectors_of(texts: Sequence[str], seed: int = 1) -> np.ndarray:
    """Return vectors of unit length without an encoder: TF-IDF of words and word pairs, reduced by SVD (Deerwester et al. 1990).

    Returns
    -------
    np.ndarray
        float32 of shape (texts, width), width at most 64.
    """
    if not texts:
        return np.zeros((0, 1), dtype=np.float32)
    # Character n-grams within words: words as they are written, also in scripts that set no spaces.
    weights = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 5), max_features=50_000)
    try:
        found = weights.fit_transform(texts)
    except ValueError:  # nothing as long as three characters
        return np.zeros((len(texts), 1), dtype=np.float32)
    width = min(WIDTH, min(found.shape) - 1)
    if width < 1:
        return np.asarray(found.toarray(), dtype=np.float32)
    return np.asarray(normalize(condense(found, width, seed)), dtype=np.float32)


def vectors_for(places: Places, rows: pl.DataFrame, seed: int = 1) -> np.ndarray:
    """Return the embeddings of rows of the corpus where `embed` has written them, else vectors of their words.

    Parameters
    ----------
    places : Places
        The app's files.
    rows : pl.DataFrame
        ``row_id``, ``text``.
    seed : int
        Of the SVD.
    """
    try:
        vectors = read_embeddings(places.embeddings, rows["row_id"]) if places.embeddings.exists() else None
    except DataError as error:  # of an earlier corpus
        logger.warning("clustered by words: %s", error)
        vectors = None
    return vectors_of(rows["text"].to_list(), seed) if vectors is None else vectors


def distinguishing_terms(
    texts: Sequence[str], assigned: np.ndarray, clusters: int, others: Sequence[str]
) -> list[tuple[str, ...]]:
    """Name each cluster by the terms that it has more often than all other rows.

    Log-odds with an informative Dirichlet prior, as z-scores: Monroe, Colaresi and Quinn (2008), equations 16 and 22; the prior
    are the counts of all rows. A term counts once a text.

    Parameters
    ----------
    texts : sequence of str
        The clustered ones.
    assigned : np.ndarray
        int of shape (texts,): each text's cluster.
    clusters : int
        How many.
    others : sequence of str
        All other texts.

    Returns
    -------
    list of tuple of str
        Up to eight a cluster, the surest first.
    """
    counter = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"(?u)\b\w\w+\b")
    try:
        counts = counter.fit_transform([*texts, *others]).tocsr()
    except ValueError:  # nothing but signs: no vocabulary
        return [()] * clusters
    vocabulary = counter.get_feature_names_out()
    total = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel()
    frequent = {term for term, rows in zip(vocabulary, total, strict=True) if rows > COMMON * counts.shape[0]}
    dull = np.array([" " in term and not frequent.isdisjoint(term.split()) for term in vocabulary])
    inside = counts[: len(texts)]
    named = []
    for number in range(clusters):
        here = np.asarray(inside[assigned == number].sum(axis=0), dtype=np.float64).ravel()
        rest, prior = total - here, total
        if not rest.any():
            named.append(
                _best_terms(vocabulary, np.where(dull, -np.inf, here))
            )  # nothing to tell it from: its most frequent
            continue
        others_here, others_rest = here.sum() - here + prior.sum() - prior, rest.sum() - rest + prior.sum() - prior
        odds = np.log((here + prior) / np.maximum(others_here, 0.5))
        odds_rest = np.log((rest + prior) / np.maximum(others_rest, 0.5))
        z = (odds - odds_rest) / np.sqrt(1 / (here + prior) + 1 / (rest + prior))
        z[dull | (here < min(2, int((assigned == number).sum())))] = -np.inf
        named.append(_best_terms(vocabulary, z))
    return named


def _best_terms(vocabulary: np.ndarray, scores: np.ndarray) -> tuple[str, ...]:
    """Take the best terms, none that stands in one taken already, or holds one."""
    best: list[str] = []
    for i in np.argsort(-scores, kind="stable")[: 10 * TERMS]:
        term = f" {vocabulary[i]} "
        if len(best) == TERMS or scores[i] <= 0:
            break
        if not any(term in f" {taken} " or f" {taken} " in term for taken in best):
            best.append(str(vocabulary[i]))
    return tuple(best)


def spread(values: Sequence[str], most: int) -> list[str]:
    """Take at most so many values, evenly over the whole."""
    step = max(1, math.ceil(len(values) / most))
    return list(values[::step])
