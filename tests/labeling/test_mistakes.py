import numpy as np
import polars as pl

from labeling.mistakes import disbelieved, mistakes_on_gold, with_interval

LABELS = ("bad", "good")
ROWS = pl.DataFrame(
    {
        "row_id": list("abcd"),
        "text": ["late", "fine", "größer", "ok"],
        "split": ["gold", "gold", "train", "train"],
        "label": pl.Series([0, 1, -1, -1], dtype=pl.Int8),
    }
)


def test_wrong_on_gold_only():
    (mistake,) = mistakes_on_gold(np.array([1, 1, 0, -1], dtype=np.int8), ROWS, LABELS)
    assert (mistake.row_id, mistake.vote, mistake.expected, mistake.belief) == ("a", "good", "bad", None)


def test_without_gold_the_least_believed_first():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]])
    found = disbelieved(np.array([1, 0, 0, 0], dtype=np.int8), probabilities, ROWS, LABELS)
    assert [(m.row_id, m.vote, m.expected, m.belief) for m in found] == [
        ("d", "bad", "good", 0.1),
        ("c", "bad", "good", 0.3),
    ]


def test_the_interval_stands_beside_the_accuracy():
    assert with_interval({"gold_votes": 10, "accuracy_gold": 0.9})["interval_gold"] == [0.5958, 0.9821]
    assert with_interval({"gold_votes": 0, "accuracy_gold": None})["interval_gold"] is None
