"""A small gold sample weighs three witnesses: the text as weak labels teach it, the votes, and the text as gold teaches it.

Each witness speaks of a gold row without having heard that row's label, at any step, so what they are worth is measured
fairly; with a hundred rows, one weight a witness and one offset a class is about all that can be learned (a logarithmic opinion
pool, Genest and Zidek 1986).
Answering "Weaker Than You Think" (Zhu et al. 2023): where the votes are worth nothing, their weight falls to nothing and what
is left is the classifier of the gold rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from labeling.label_models.softmax import softmax
from labeling.refine.classifier import leave_one_out
from labeling.refine.without_gold import PENALTY, UNCOVERED_WEIGHT, Ballots, ballots_of

ROUNDS = 5
FOLDS = 5
GOLD_WEIGHT = 5.0
"""A gold row counts as so many weakly labeled ones."""
GOLD_C = 10.0
PRIOR_VOTES = 10.0
ABSTENTION = 0.3
"""What an abstention counts beside a vote: functions abstain together, for reasons that have little to do with the class."""
LEAST = 1e-4
HEAVIEST = 3.0
WEIGHT_PENALTY = 4.0
OFFSET_PENALTY = 2.0


WITNESSES = ("weak_text", "votes", "gold_text")


@dataclass
class _State:
    """What is believed of all rows by one that heard some of the gold labels (``told``: which, bool of shape (gold rows,))."""

    told: np.ndarray
    gold_text: np.ndarray
    believed: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Pooled:
    """What votes, texts and gold say together.

    Attributes
    ----------
    probabilities : np.ndarray
        float64 of shape (rows, classes); gold rows have their own label.
    held_out : np.ndarray
        float64 of shape (gold rows, classes): each gold row without its own label, for measuring.
    weights : dict of str to float
        What each witness came to weigh: ``weak_text``, ``votes``, ``gold_text``.
    """

    probabilities: np.ndarray
    held_out: np.ndarray
    weights: dict[str, float]


def refine_with_gold(
    matrix: np.ndarray,
    features: np.ndarray,
    classes: int,
    weak: np.ndarray,
    gold_rows: np.ndarray,
    gold: np.ndarray,
    seed: int,
) -> Pooled:
    """Weigh votes and texts by gold rows, relabel all rows, and again.

    Parameters
    ----------
    matrix : np.ndarray
        int8 of shape (rows, functions), ABSTAIN for none.
    features : np.ndarray
        float32 of shape (rows, features), as `labeling.features.text_features` makes them.
    classes : int
        How many classes there are.
    weak : np.ndarray
        float64 of shape (rows, classes): what `refine_without_gold` found, gold unseen.
    gold_rows : np.ndarray
        int64 of shape (gold rows,): where the gold rows stand; at least two, of two classes.
    gold : np.ndarray
        int64 of shape (gold rows,): their labels.
    seed : int
        Of the folds.
    """
    ballots = ballots_of(matrix, classes)
    folds = np.random.default_rng(seed).permutation(len(gold)) % min(FOLDS, len(gold))
    # One state for each fold, that never hears the fold's labels, so that its rows can be asked fairly; the last hears all.
    heard = [*(folds != fold for fold in np.unique(folds)), np.ones(len(gold), dtype=bool)]
    uninformed = np.where(ballots.voters > 0, 1.0, UNCOVERED_WEIGHT)
    states = [
        _State(told, _taught_by_gold(features, gold_rows[told], gold[told], classes), weak, uninformed.copy())
        for told in heard
    ]
    for _ in range(ROUNDS):
        witnesses = [_witnesses(state, ballots, features) for state in states]
        asked = np.empty((len(WITNESSES), len(gold), classes))
        for state, said in zip(states[:-1], witnesses[:-1], strict=True):
            asked[:, ~state.told] = said[:, gold_rows[~state.told]]
        pool = _pool(asked, gold)
        for state, said in zip(states, witnesses, strict=True):
            state.believed = _pooled(said, pool)
            state.believed[gold_rows[state.told]] = np.eye(classes)[gold[state.told]]
            state.weights[gold_rows[state.told]] = GOLD_WEIGHT
    held_out = np.empty((len(gold), classes))
    for state in states[:-1]:
        held_out[~state.told] = _pooled(asked[:, ~state.told], _pool(asked[:, state.told], gold[state.told]))
    weighed = zip(WITNESSES, pool[: len(WITNESSES)].tolist(), strict=True)
    return Pooled(states[-1].believed, held_out, {name: round(weight, 4) for name, weight in weighed})


def _witnesses(state: _State, ballots: Ballots, features: np.ndarray) -> np.ndarray:
    """Return what each of WITNESSES says to a state, float64 of shape (witnesses, rows, classes)."""
    weak_text = log_odds(leave_one_out(features, state.believed, state.weights, PENALTY))
    return np.stack([weak_text, _votes_say(ballots, state.believed, state.weights), state.gold_text])


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Return log probabilities less their mean over the classes, float64 of the same shape."""
    logs = np.log(np.maximum(probabilities, LEAST))
    return logs - logs.mean(axis=1, keepdims=True)


def _taught_by_gold(features: np.ndarray, gold_rows: np.ndarray, gold: np.ndarray, classes: int) -> np.ndarray:
    """Return what the gold rows' texts alone teach of all rows, as log odds, float64 of shape (rows, classes)."""
    seen = np.unique(gold)
    found = np.full((len(features), classes), LEAST)
    if len(seen) < 2:
        found[:, seen] = 1.0
    else:
        model = LogisticRegression(C=GOLD_C, max_iter=500).fit(features[gold_rows], gold)
        found[:, model.classes_] = model.predict_proba(features)
    return log_odds(found)


def _votes_say(ballots: Ballots, believed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Add up what each vote says of the classes, counted on the other rows, float64 of shape (rows, classes).

    A naive Bayes of votes and, at a fraction, of abstentions; a row's own share of the counts is taken out.
    """
    classes = ballots.classes
    counted = believed * weights[:, None]
    totals = counted.sum(axis=0)
    tables = ballots.hot.T @ counted
    row, column = np.repeat(np.arange(len(believed)), ballots.voters), ballots.hot.indices
    voted = ballots.voted[column]
    prior = np.full((len(row), classes), PRIOR_VOTES * 0.5 / (classes - 1))
    prior[np.arange(len(row)), voted] = PRIOR_VOTES * 0.5
    share = (tables[column] - counted[row] + prior) / (totals - counted[row] + 1)
    said = np.log(share / share.sum(axis=1, keepdims=True) + 1e-6)

    functions = ballots.hot.shape[1] // classes
    silent = totals - tables.reshape(functions, classes, classes).sum(axis=1)
    silent = (silent + PRIOR_VOTES * totals / totals.sum()) / (totals + 1)
    silence = ABSTENTION * np.log(silent / silent.sum(axis=1, keepdims=True) + 1e-6)
    said -= silence[column // classes]

    # The votes stand row by row in `hot`, so its own index lays them out.
    of_row = csr_matrix((np.ones(len(row)), np.arange(len(row)), ballots.hot.indptr), shape=(len(believed), len(row)))
    scores = of_row @ said + silence.sum(axis=0)
    return np.asarray(scores - scores.mean(axis=1, keepdims=True))


def _pool(witnesses: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Fit a weight a witness and an offset a class to gold labels, pulled to 1 and 0: float64 of shape (witnesses + classes,)."""
    many, rows, classes = witnesses.shape

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights, offsets = values[:many], values[many:]
        probabilities = softmax(np.tensordot(weights, witnesses, 1) + offsets)
        lost = -np.log(probabilities[np.arange(rows), gold] + 1e-12).sum()
        lost += WEIGHT_PENALTY / 2 * ((weights - 1) ** 2).sum() + OFFSET_PENALTY / 2 * (offsets**2).sum()
        slope = probabilities
        slope[np.arange(rows), gold] -= 1
        by_weight = (witnesses * slope).sum(axis=(1, 2)) + WEIGHT_PENALTY * (weights - 1)
        return lost, np.append(by_weight, slope.sum(axis=0) + OFFSET_PENALTY * offsets)

    start = np.append(np.ones(many), np.zeros(classes))
    bounds = [(0.0, HEAVIEST)] * many + [(-5.0, 5.0)] * classes
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def _pooled(witnesses: np.ndarray, pool: np.ndarray) -> np.ndarray:
    many = len(witnesses)
    return softmax(np.tensordot(pool[:many], witnesses, 1) + pool[many:])
