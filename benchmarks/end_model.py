"""The end model of benchmarks.label_quality, one for all labels: TF-IDF and frozen MiniLM under a logistic regression.

scikit-learn's logistic regression takes no soft labels; this is the same loss on probabilities, minimised by SciPy's L-BFGS.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack

from labeling.encoder import encode
from labeling.features import tfidf_vectorizer


@dataclass(frozen=True)
class Features:
    """What the end model reads, and what the treatment reads: the test texts' are for predicting alone.

    Attributes
    ----------
    train, test : csr_matrix
        float64 of shape (rows, features); vocabulary and document frequencies are the train texts'.
    embeddings : np.ndarray
        float32 of shape (train rows, 384): MiniLM's.
    """

    train: csr_matrix
    test: csr_matrix
    embeddings: np.ndarray


def features_of(train: list[str], test: list[str]) -> Features:
    """Make the features; fitted on train texts only."""
    vectorizer = tfidf_vectorizer(len(train))
    words, words_test = vectorizer.fit_transform(train), vectorizer.transform(test)
    embeddings, embeddings_test = encode(train), encode(test)
    together = [csr_matrix(hstack([a, b])) for a, b in ((words, embeddings), (words_test, embeddings_test))]
    return Features(together[0], together[1], embeddings)


def predict_test(features: Features, targets: np.ndarray, rows: np.ndarray, c: float) -> np.ndarray:
    """Train on rows with soft or hard labels and predict the test texts.

    Parameters
    ----------
    features : Features
        Of all train rows.
    targets : np.ndarray
        float64 of shape (train rows, classes): probabilities.
    rows : np.ndarray
        The train rows to learn from: a mask or numbers.
    c : float
        The inverse of the L2 penalty, as scikit-learn's ``C``.

    Returns
    -------
    np.ndarray
        int64 of shape (test rows,).
    """
    x, wanted = csr_matrix(features.train[rows]), targets[rows]
    transposed = csr_matrix(x.T)
    width, classes = x.shape[1], wanted.shape[1]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = values[:-classes].reshape(width, classes), values[-classes:]
        scores = x @ weights + bias
        scores -= scores.max(axis=1, keepdims=True)
        likelihood = np.exp(scores)
        total = likelihood.sum(axis=1, keepdims=True)
        lost = -c * (wanted * (scores - np.log(total))).sum() + 0.5 * (weights**2).sum()
        slope = c * (likelihood / total - wanted)
        return lost, np.append((transposed @ slope + weights).ravel(), slope.sum(axis=0))

    start = np.zeros(width * classes + classes)
    tolerance = 1e-4 * max(1.0, len(wanted) * c / 100)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-7, "gtol": tolerance}
    ).x
    scores = features.test @ found[:-classes].reshape(width, classes) + found[-classes:]
    return np.asarray(scores).argmax(axis=1)
