import json

import polars as pl
import pytest
from snorkel.labeling import labeling_function
from snorkel.preprocess import preprocessor

from labeling.functions import keyword, regex
from labeling.vote import label_matrix, vote_all
from ledger.errors import FunctionError, PricecutError
from tests.labeling.conftest import FUNCTIONS, run_until

LABELS = ("bad", "good")
ROWS = pl.DataFrame({"row_id": ["r0", "r1", "r2"], "text": ["Great", "late", "so so"], "label": [1, 0, 1]})


def test_snorkel_row_functions_work_unchanged():
    @preprocessor(memoize=True)
    def lower(x):
        x.text = x.text.lower()
        return x

    @labeling_function(pre=[lower], resources={"words": {"great"}})
    def great(x, words):
        return 1 if x.text in words else -1

    @labeling_function()
    def by_item(x):
        return 0 if x["text"] == "late" else -1

    @labeling_function()
    def by_name(x):
        return "good" if x.text == "Great" else None

    assert label_matrix([great, by_item, by_name], ROWS, LABELS).tolist() == [[1, -1, 1], [-1, 0, -1], [-1, -1, -1]]


def test_a_preprocessor_that_writes_does_not_change_another_functions_row():
    @labeling_function()
    def writes(x):
        x.text = "late"
        return -1

    @labeling_function()
    def reads(x):
        return 0 if x.text == "late" else -1

    assert label_matrix([writes, reads], ROWS, LABELS)[:, 1].tolist() == [-1, 0, -1]


def test_declared_and_coded_functions_keep_their_order():
    @labeling_function()
    def coded(x):
        return 1

    functions = [keyword("a", "bad", ["late"]), coded, regex("b", "good", "great")]
    assert label_matrix(functions, ROWS, LABELS).tolist() == [[-1, 1, 1], [0, 1, -1], [-1, 1, -1]]


def test_a_function_that_raises_abstains_there_and_is_counted():
    @labeling_function()
    def fragile(x):
        return 1 if x.text[3] else -1

    voted = vote_all([fragile], ROWS.with_columns(text=pl.Series(["Great", "ab", "xyzw"])), LABELS)[0]
    assert voted.column.tolist() == [1, -1, 1]
    assert (voted.errors, voted.first_error) == (1, "row 'r1': IndexError: string index out of range")


@pytest.mark.parametrize("value", [2, -2, 0.5, "fine", True])
def test_a_value_that_is_no_label_names_function_row_and_what_was_expected(value):
    @labeling_function()
    def wrong(x):
        return value

    expected = (
        r"function 'wrong' returned .* on row 'r0'; expected 0 \(bad\), 1 \(good\), a label's name, or -1 to abstain"
    )
    with pytest.raises(FunctionError, match=expected):
        vote_all([wrong], ROWS, LABELS)


def test_a_column_that_no_source_maps_is_named():
    with pytest.raises(FunctionError, match="function 'a': reads the column 'subject', which no source maps"):
        vote_all([keyword("b", "bad", ["x"]), keyword("a", "bad", ["x"], field="subject")], ROWS, LABELS)


def test_no_function_sees_the_gold_labels():
    @labeling_function()
    def peeks(x):
        return x.label

    assert vote_all([peeks], ROWS, LABELS)[0].errors == 3
    with pytest.raises(FunctionError, match="reads the column 'label'"):
        vote_all([regex("peeks", "bad", "0", field="label")], ROWS, LABELS)


def test_the_stage_names_the_line_of_a_function_that_raises_too_often(small_app):
    code = FUNCTIONS + (
        "from snorkel.labeling import labeling_function\n@labeling_function()\ndef divides(x):\n    return 1 // 0\n"
        "FUNCTIONS.append(divides)\n"
    )
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    expected = (
        r"functions\.py:11: function 'divides' raised on \d+ of \d+ rows.*first: row 'shop/\d+': ZeroDivisionError"
    )
    with pytest.raises(FunctionError, match=expected):
        run_until(small_app, "vote")


def test_the_vote_report_counts(small_app):
    run_until(small_app, "vote")
    votes = pl.read_parquet(small_app.votes)
    report = json.loads(small_app.vote_report.read_text())
    assert votes.columns == ["row_id", "praise", "blame", "shouts"]
    assert set(votes.schema.dtypes()[1:]) == {pl.Int8}
    assert [f["votes"] for f in report["functions"]] == [int((votes[c] >= 0).sum()) for c in votes.columns[1:]]


def test_an_interrupted_stage_says_so_in_a_sentence(small_app):
    code = FUNCTIONS + (
        "from snorkel.labeling import labeling_function\n@labeling_function()\ndef stops(x):\n    raise KeyboardInterrupt\n"
        "FUNCTIONS.append(stops)\n"
    )
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    with pytest.raises(PricecutError, match="interrupted; no votes were written"):
        run_until(small_app, "vote")
    assert not small_app.votes.exists()


def test_the_stage_keeps_votes_outside_dvc_and_writes_the_same_file_from_them(small_app, caplog):
    run_until(small_app, "vote")
    first = small_app.votes.read_bytes()
    assert len(list(small_app.vote_cache.glob("*/*.votes"))) == 3
    caplog.set_level("INFO")
    run_until(small_app, "vote")
    assert "0 of 3 functions voted; 3 were known" in caplog.text
    assert small_app.votes.read_bytes() == first


def test_the_report_says_who_answers_for_a_function(small_app):
    code = FUNCTIONS.replace("import polars as pl", 'import polars as pl\nOWNER = "ana"')
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    run_until(small_app, "vote")
    assert {f["owner"] for f in json.loads(small_app.vote_report.read_text())["functions"]} == {"ana"}
