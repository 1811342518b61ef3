import numpy as np
import polars as pl
import pytest

from labeling.training_set import TrainingSet, read_training_set, write_training_set
from ledger.errors import DataError


def rows(**changes):
    table = {
        "row_id": ["a", "b", "c"],
        "text": ["one", "two", "three"],
        "split": ["train", "gold", "unlabeled"],
        "probabilities": [[0.9, 0.1], [0.0, 1.0], [0.5, 0.5]],
        "label": [0, 1, -1],
        "weight": [0.8, 1.0, 0.0],
    }
    return pl.DataFrame(table | changes)


def test_a_training_set_survives_its_file(tmp_path):
    path = tmp_path / "t.parquet"
    write_training_set(TrainingSet(("x", "y"), rows()), path)
    read = read_training_set(path)
    assert read.labels == ("x", "y")
    assert read.split("gold")["row_id"].to_list() == ["b"]
    assert np.allclose(read.probabilities("train"), [[0.9, 0.1]])
    assert read.probabilities("train").dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"split": ["train", "gold", "test"]}, "row 'c' and 0 more: expected split, one of"),
        ({"text": ["one", " ", "three"]}, "row 'b' and 0 more: expected text, not empty"),
        ({"probabilities": [[0.9, 0.3], [0.0, 1.0], [0.5, 0.5]]}, "row 'a' and 0 more: expected 2 probabilities"),
        ({"probabilities": [[1.0], [1.0], [1.0]]}, "row 'a' and 2 more: expected 2 probabilities"),
        ({"label": [0, 2, -1]}, r"row 'b' and 0 more: expected label in 0\.\.1"),
        ({"label": [-1, 1, -1]}, "row 'a' and 0 more: expected label"),
        ({"weight": [-1.0, 1.0, 0.0]}, "row 'a' and 0 more: expected weight"),
        ({"weight": [None, 1.0, 0.0]}, "row 'a' and 0 more: expected weight"),
    ],
)
def test_what_breaks_the_contract_is_named(tmp_path, changes, expected):
    with pytest.raises(DataError, match=expected):
        write_training_set(TrainingSet(("x", "y"), rows(**changes)), tmp_path / "t.parquet")


def test_a_missing_column_or_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing \['weight'\]"):
        write_training_set(TrainingSet(("x", "y"), rows().drop("weight")), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="not found; run the stage 'audit' first"):
        read_training_set(tmp_path / "none.parquet")
