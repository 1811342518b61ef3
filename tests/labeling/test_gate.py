from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from labeling.agreed import read_agreed, write_agreed
from labeling.gate import agree, fingerprint, hold_to_agreed
from labeling.gold import Answer, add_answers
from ledger.errors import FunctionError
from tests.labeling.conftest import FUNCTIONS, run_until

LABELS = ("bad", "good")
ROWS = pl.DataFrame(
    {
        "row_id": list("abcdef"),
        "split": ["gold"] * 4 + ["train"] * 2,
        "label": pl.Series([0, 0, 1, 1, -1, -1], dtype=pl.Int8),
    }
)
RIGHT = np.array([[0, 0, 1, 1, 0, 1]], dtype=np.int8).T
WORSE = np.array([[0, 1, 0, 1, -1, 1]], dtype=np.int8).T


def held(places, matrix, rows=ROWS, least=1):
    hold_to_agreed(places, ["praise"], matrix, rows, LABELS, least)


def test_an_edit_that_lowers_the_accuracy_is_refused_with_all_that_helps(small_app):
    write_agreed(small_app.agreed, agree(["praise"], RIGHT, ROWS, 0.1))
    held(small_app, RIGHT)
    expected = (
        r"functions\.py:5: function 'praise': accuracy on gold was 1\.0000 on 4 gold votes, is 0\.5000 on 4, agreed was at least "
        r"0\.7500; 2 rows lost, first 'b' \(good, gold bad\), 'c' \(bad, gold good\); mend it, or agree anew with "
        r"`pricecut agree small --function praise`"
    )
    with pytest.raises(FunctionError, match=expected):
        held(small_app, WORSE)


def test_one_vote_more_or_less_refuses_nothing(small_app):
    write_agreed(small_app.agreed, agree(["praise"], RIGHT, ROWS, 0.0))
    one_wrong = RIGHT.copy()
    one_wrong[0] = 1
    held(small_app, one_wrong)


def test_rows_lost_are_those_that_were_right(small_app):
    one_wrong = RIGHT.copy()
    one_wrong[0] = 1
    write_agreed(small_app.agreed, agree(["praise"], one_wrong, ROWS, 0.0))
    assert read_agreed(small_app)["praise"].wrong == ("a",)
    with pytest.raises(FunctionError, match=r"is 0\.0000 on 4, .*; 3 rows lost, first 'b' \(good, gold bad\), 'c'"):
        held(small_app, 1 - RIGHT)


def test_a_function_that_hardly_votes_on_gold_any_more_is_told(small_app, caplog):
    write_agreed(small_app.agreed, agree(["praise"], RIGHT, ROWS, 0.0))
    held(small_app, np.array([[0, -1, -1, -1, 0, 1]], dtype=np.int8).T, least=3)
    assert "'praise' votes on 1 gold rows, when agreed on 4: too few" in caplog.text


def test_too_few_gold_votes_refuse_nothing(small_app):
    write_agreed(small_app.agreed, agree(["praise"], RIGHT, ROWS, 0.0))
    held(small_app, WORSE, least=5)


def test_another_gold_sample_is_told(small_app):
    write_agreed(small_app.agreed, agree(["praise"], RIGHT, ROWS, 0.0))
    more = ROWS.with_columns(pl.Series("split", ["gold"] * 5 + ["train"]), pl.Series("label", [0, 1, 0, 1, 1, -1]))
    assert fingerprint(more) != fingerprint(ROWS) == fingerprint(ROWS.reverse())
    with pytest.raises(FunctionError, match="other gold rows have changed since, so it may not be the edit"):
        held(small_app, RIGHT, more)


def test_rows_answered_since_are_no_edits_doing(small_app):
    then = datetime(2026, 11, 25, 9, tzinfo=UTC)
    known = ROWS.with_columns(pl.Series("split", ["gold", "gold", "train", "train", "gold", "train"]))
    known = known.with_columns(pl.Series("label", [0, 0, -1, -1, 0, -1], dtype=pl.Int8))
    write_agreed(small_app.agreed, agree(["praise"], RIGHT, known, 0.0, when=then))
    more = ROWS.with_columns(pl.Series("split", ["gold"] * 5 + ["train"]), pl.Series("label", [0, 0, 0, 0, 0, -1]))
    with pytest.raises(
        FunctionError, match=r"is 0\.6000 on 5, .*; 2 rows lost, first 'c' .*; other gold rows have changed"
    ):
        held(small_app, RIGHT, more)
    given = [Answer(row, "bad", "ann", "2026-11-25T10:00:00Z", "0" * 16) for row in "cd"]
    add_answers(small_app.gold_answers, LABELS, given)
    held(small_app, RIGHT, more)
    worse = RIGHT.copy()
    worse[:2] = 1
    with pytest.raises(
        FunctionError, match=r"is 0\.3333 on 3, agreed was at least 0\.6667; 2 rows lost, first 'a' .*\); mend it"
    ):
        held(small_app, worse, more)


def test_coverage_is_held_where_it_was_agreed(small_app):
    write_agreed(small_app.agreed, agree(["praise"], RIGHT, ROWS, 0.0, coverage=True))
    fewer = RIGHT.copy()
    fewer[4] = -1
    with pytest.raises(FunctionError, match=r"votes on 0\.5000 of the train rows, agreed was at least 1\.0000"):
        held(small_app, fewer)


@pytest.mark.parametrize("text", [None, "", "# nothing\n", "{}\n"])
def test_nothing_agreed(small_app, text):
    if text is not None:
        small_app.agreed.write_text(text)
    assert read_agreed(small_app) == {}
    held(small_app, WORSE)


def test_what_is_written_is_read(small_app):
    agreed = agree(["praise", "silent"], np.hstack([RIGHT, np.full_like(RIGHT, -1)]), ROWS, 0.02)
    assert list(agreed) == ["praise"]
    write_agreed(small_app.agreed, agreed)
    assert read_agreed(small_app) == agreed


def test_the_stage_refuses(small_app):
    run_until(small_app, "vote")
    rows = pl.read_parquet(small_app.corpus)
    matrix = pl.read_parquet(small_app.votes).drop("row_id").to_numpy()
    write_agreed(small_app.agreed, agree(["praise", "blame", "shouts"], matrix, rows, 0.0))
    run_until(small_app, "vote")
    before = small_app.votes.read_bytes()
    (small_app.app_folder / "functions.py").write_text(FUNCTIONS.replace('"praise", "good"', '"praise", "bad"'))
    params = (small_app.root / "params.yaml").read_text().replace("gate_votes: 10", "gate_votes: 2")
    (small_app.root / "params.yaml").write_text(params)
    with pytest.raises(
        FunctionError, match=r"function 'praise': accuracy on gold was 1\.0000 on 2 gold votes, is 0\.0000 on 2"
    ):
        run_until(small_app, "vote")
    assert small_app.votes.read_bytes() == before
