"""Texts as numbers, for the classifiers inside labeling: TF-IDF of words and characters, and the encoder's embeddings."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

COMPONENTS = 256
FEW_TEXTS = 20
"""Below this a handful of texts may share no character n-gram at all: words alone."""


def tfidf_vectorizer(texts: int) -> FeatureUnion:
    """Return the vectorizer of words (1 to 2 of them) and of characters in words (2 to 4), for so many texts."""
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\S+", min_df=1)
    characters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 4), min_df=2)
    parts = [("words", words), ("characters", characters)] if texts >= FEW_TEXTS else [("words", words)]
    return FeatureUnion(parts)


def tfidf_of(texts: Sequence[str]) -> csr_matrix:
    """Return TF-IDF features of words and of character n-grams, float64 of shape (texts, features)."""
    return csr_matrix(tfidf_vectorizer(len(texts)).fit_transform(texts))


def condense(features: csr_matrix, components: int, seed: int) -> np.ndarray:
    """Project sparse features on their first singular vectors, float64 of shape (texts, at most components)."""
    width = min(components, features.shape[1] - 1, features.shape[0] - 1)
    return TruncatedSVD(max(width, 1), random_state=seed).fit_transform(features)


def text_features(texts: Sequence[str], embeddings: np.ndarray | None, seed: int) -> np.ndarray:
    """Return dense features of texts, float32 of shape (texts, at most 256 + width of the embeddings).

    Parameters
    ----------
    texts : sequence of str
        At least three.
    embeddings : np.ndarray or None
        float32 of shape (texts, width), as `embed` wrote them; None where there is no encoder.
    seed : int
        Of the projection.
    """
    words = condense(tfidf_of(texts), COMPONENTS, seed).astype(np.float32)
    return words if embeddings is None else np.hstack([embeddings.astype(np.float32), words])
