"""What a bag of n-grams says of texts that are all learned from: each is answered by a bag that was trained on the others."""

import numpy as np

from training.bag import answer
from training.bag_training import BagParameters, Lesson, train_bag
from training.runtime import softmax

OPINION = BagParameters(
    words=2,
    characters=(3, 3),
    width=64,
    rows=20000,
    min_count=2,
    epochs=12,
    batch_size=64,
    learning_rate=0.01,
    dropout=0.5,
)
"""The bag that gives a second opinion; it trains in seconds."""
OPINION_FOLDS = 5

TEMPERATURES = np.geomspace(0.2, 5.0, 65)


def out_of_fold(lesson: Lesson, longest: int, model: BagParameters, folds: int, seed: int) -> np.ndarray:
    """Return the logits of every text, float32 of shape ``(texts, classes)``, by a bag that was trained on the other folds.

    Parameters
    ----------
    lesson : Lesson
        Texts, targets and weights.
    longest : int
        Words to which a text is cut.
    model : BagParameters
        The bag and its training.
    folds : int
        Into which the texts are divided at random; zeros are returned for all where they all fall into one.
    seed : int
        Of the division, and of each training.
    """
    fold = np.random.default_rng(seed).integers(0, folds, len(lesson.texts))
    logits = np.zeros_like(lesson.targets)
    for number in np.unique(fold):
        others, own = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(others):
            bag = train_bag(lesson.take(others), len(others), longest, model, seed)
            logits[own] = answer(bag)([lesson.texts[row] for row in own], 1)
    return logits


def find_temperature(logits: np.ndarray, lesson: Lesson) -> float:
    """Return what the logits are best divided by (Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2)."""
    return float(min(TEMPERATURES, key=lambda temperature: cross_entropy(logits / temperature, lesson)))


def cross_entropy(logits: np.ndarray, lesson: Lesson) -> float:
    """Return the weighted mean cross-entropy of logits to the lesson's targets."""
    each = -(lesson.targets * np.log(softmax(logits) + 1e-9)).sum(axis=1)
    return float(np.average(each, weights=lesson.weights + 1e-9))


def with_second_opinion(
    texts: list[str], targets: np.ndarray, weights: np.ndarray, share: float, longest: int, seed: int
) -> np.ndarray:
    """Give a share of each target to a bag's answer, trained on the same labels of other rows.

    A label that everything else speaks against is believed less, and labels that are taken for each other are learned as such
    (Hinton et al. 2015, https://arxiv.org/abs/1503.02531; of models that learn from each other, Zhang et al. 2018, 1706.00384).

    Parameters
    ----------
    texts : list of str
        Those that are learned from.
    targets, weights : np.ndarray
        Their soft labels, float32 of shape ``(texts, classes)``, and how much each counts, ``(texts,)``.
    share : float
        Of the bag, between 0 and 1; 0 returns the targets as they are.
    longest : int
        Words to which a text is cut.
    seed : int
        Of the folds and the bags.
    """
    if not share:
        return targets
    lesson = Lesson(texts, targets, weights)
    logits = out_of_fold(lesson, longest, OPINION, OPINION_FOLDS, seed)
    opinion = softmax(logits / find_temperature(logits, lesson))
    return ((1 - share) * targets + share * opinion).astype(np.float32)
