import numpy as np
import polars as pl
import pytest

from labeling.ballot import Ballot, cast_votes
from labeling.compare import OnGold, compare
from labeling.functions import keyword
from ledger.errors import FunctionError
from tests.labeling.conftest import FUNCTIONS, run_until

LABELS = ("bad", "good")
ROWS = pl.DataFrame(
    {
        "row_id": list("abcdef"),
        "text": list("uvwxyz"),
        "split": ["gold"] * 3 + ["train"] * 3,
        "label": pl.Series([0, 0, 1, -1, -1, -1], dtype=pl.Int8),
    }
)


def ballot(**columns):
    functions = tuple(keyword(name, "bad", ["x"]) for name in columns)
    return Ballot(LABELS, ROWS, functions, np.array(list(columns.values()), dtype=np.int8).T)


def test_added_removed_changed_and_the_same():
    before = ballot(same=[0, -1, -1, -1, -1, -1], edited=[0, 0, -1, 1, -1, 0], gone=[-1, -1, 1, -1, -1, -1])
    after = ballot(new=[-1, -1, -1, -1, 1, -1], edited=[0, 1, -1, -1, 1, 1], same=[0, -1, -1, -1, -1, -1])
    found = {change.name: change for change in compare(before, after)}
    assert {name: change.status for name, change in found.items()} == {
        "new": "added",
        "edited": "changed",
        "same": "same votes",
        "gone": "removed",
    }
    edited = found["edited"]
    assert (edited.votes_before, edited.votes_after, edited.gained, edited.lost, edited.flipped) == (4, 4, 1, 1, 2)
    assert (edited.gold_before, edited.gold_after) == (OnGold(2, 2), OnGold(1, 2))
    assert edited.as_json()["accuracy_after"] == 0.5
    first = edited.examples[0]
    assert (first.row_id, first.before, first.after, first.gold) == ("b", "bad", "good", "bad")
    assert [row.row_id for row in edited.examples] == ["b", "f", "d"]
    assert found["gone"].gold_after.accuracy is None and found["same"].examples == ()


def test_another_folders_functions_vote_on_the_apps_corpus(small_app, tmp_path):
    run_until(small_app, "fuse")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/functions.py").write_text(FUNCTIONS.replace('"love"', '"kettle"'))
    changes = compare(cast_votes(small_app, tmp_path / "old"), cast_votes(small_app))
    assert [change.status for change in changes] == ["changed", "same votes", "same votes"]
    assert changes[0].gained > 0 and changes[0].lost > 0


def test_a_function_that_cannot_vote_is_told_with_its_line(small_app):
    run_until(small_app, "fuse")
    path = small_app.app_folder / "functions.py"
    path.write_text(FUNCTIONS + "\nFUNCTIONS += [keyword('k', 'bad', ['x'], 'subject')]\n")
    with pytest.raises(FunctionError, match=r"functions\.py:10: function 'k': reads the column 'subject'"):
        cast_votes(small_app)
