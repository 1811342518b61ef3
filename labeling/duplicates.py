"""Finds texts that are nearly the same: MinHash candidates, each verified by its exact similarity."""

import functools
import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import rensa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from labeling.partitions import configured_cluster, over_cluster

SHINGLE = 5
"""Characters of a shingle: short enough for messages of three words, long enough to keep word order."""

PERMUTATIONS = 128
BAND_ROWS = 4
"""32 bands of 4 rows: at similarity 0.8 a pair is missed with probability (1 - 0.8^4)^32, about 5e-8."""

SEED = 1


def normalize(text: str) -> str:
    """Reduce a text to what makes it the same message: letters and digits, lower-case, single spaces.

    A text without letters or digits (emoji only) stays as it is.

    Examples
    --------
    >>> normalize("Check  it OUT!!! ")
    'check it out'
    """
    kept = "".join(
        c if unicodedata.category(c)[0] in "LN" else " " for c in unicodedata.normalize("NFKC", text).casefold()
    )
    return " ".join(kept.split()) or text.strip()


def shingles(text: str) -> frozenset[str]:
    """Return the character 5-grams of a normalized text, padded so that short texts have some."""
    padded = f" {text} "
    return frozenset(padded[i : i + SHINGLE] for i in range(max(1, len(padded) - SHINGLE + 1)))


def similarity(a: frozenset[str], b: frozenset[str]) -> float:
    """Jaccard similarity of two sets of shingles, 0 to 1."""
    return len(a & b) / len(a | b)


def near_duplicate_groups(texts: list[str], threshold: float) -> np.ndarray:
    """Number the groups of texts that are nearly the same.

    Two texts are linked when their shingles' Jaccard similarity reaches the threshold; groups are the connected components.
    Candidates come from MinHash with banding (Broder 1997; Leskovec et al., Mining of Massive Datasets, section 3.4).

    Parameters
    ----------
    texts : list of str
        The messages.
    threshold : float
        Between 0 and 1; 1 links only texts whose normalized forms are equal.

    Returns
    -------
    np.ndarray
        int32 of shape (texts,): the group of each, numbered by first appearance.
    """
    if not texts:
        return np.zeros(0, dtype=np.int32)
    cluster = configured_cluster()
    if cluster and len(texts) > cluster.rows:
        parts = (texts[start : start + cluster.rows] for start in range(0, len(texts), cluster.rows))
        signed = over_cluster(cluster, sign, PERMUTATIONS, parts)
    else:
        signed = iter([sign(PERMUTATIONS, texts)])
    distinct: dict[str, int] = {}
    inverse: list[int] = []
    digests: list[np.ndarray] = []
    for normalized, signatures in signed:
        new = [number for number, text in enumerate(dict.fromkeys(normalized)) if text not in distinct]
        digests.append(signatures[new])
        inverse.extend(distinct.setdefault(text, len(distinct)) for text in normalized)
    written = list(distinct)
    shingled = functools.cache(lambda i: shingles(written[i]))  # of those alone that something is near to
    candidates = _candidate_pairs(np.concatenate(digests)) if threshold < 1 else []
    pairs = [(i, j) for i, j in candidates if similarity(shingled(i), shingled(j)) >= threshold]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(distinct), len(distinct)))
    _, component = connected_components(graph, directed=False)
    groups = component[np.array(inverse)]
    _, first, renumbered = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[renumbered].astype(np.int32)


def sign(permutations: int, texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Reduce texts to their normalized forms and sign these: what takes time, and needs no other text.

    Parameters
    ----------
    permutations : int
        Numbers of a signature.
    texts : sequence of str
        The messages, or a part of them.

    Returns
    -------
    normalized : list of str
        Of each text.
    signatures : np.ndarray
        uint32 of shape (distinct normalized texts, permutations), in order of their first appearance.
    """
    normalized = [normalize(text) for text in texts]
    sets = [sorted(shingles(text)) for text in dict.fromkeys(normalized)]
    return normalized, np.array(rensa.RMinHash.digests_from_token_sets(sets, permutations, SEED), dtype=np.uint32)


def _candidate_pairs(digests: np.ndarray) -> list[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    for start in range(0, PERMUTATIONS, BAND_ROWS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for i, band in enumerate(np.ascontiguousarray(digests[:, start : start + BAND_ROWS])):
            buckets[band.tobytes()].append(i)
        for bucket in buckets.values():
            pairs.update(itertools.combinations(bucket, 2))
    return sorted(pairs)
