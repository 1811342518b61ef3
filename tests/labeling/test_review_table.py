import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.review import Question
from labeling.review_table import read_table, write_table
from ledger.errors import DataError

HEADER = ["row_id", "text", "guess", "confidence", "why", "label"]


def saved(path, rows, delimiter=",", ends="\r\n", encoding="utf-8-sig"):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=ends).writerows(rows)
    path.write_bytes(file.getvalue().encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_however_a_spreadsheet_saves_it(tmp_path, delimiter, ends, encoding):
    rows = [
        HEADER,
        ["shop/1", 'größer, als; "gedacht"\tüber\n送料', "bad", "0.5", "unsure", " good "],
        ["shop/2", "x", "bad", "0.5", "unsure", ""],
        [],
        ["", "", "", "", "", ""],
        ["shop/3", "y", "bad", "0.5", "random", "bad"],
    ]
    found = read_table(saved(tmp_path / "filled.csv", rows, delimiter, ends, encoding))
    assert [(one.row_id, one.label) for one in found] == [("shop/1", "good"), ("shop/3", "bad")]
    assert found[0].text == rows[1][1]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), min_size=1).filter(str.strip)


@given(texts, texts.map(str.strip))
def test_what_is_written_is_read_whatever_it_starts_with(tmp_path_factory, text, row_id):
    path = tmp_path_factory.mktemp("t") / "rows.csv"
    write_table(path, [Question(row_id, text, "bad", 0.5, "unsure")])
    content = path.read_text(encoding="utf-8-sig").rstrip("\n")
    path.write_text(content + "good\n", encoding="utf-8-sig")
    (found,) = read_table(path)
    assert (found.row_id, found.text, found.label) == (row_id, text, "good")


@pytest.mark.parametrize("text", ["=1+1", "+49 30", "-10 % today", "@all", '=HYPERLINK("http://x")'])
def test_no_cell_is_a_formula(tmp_path, text):
    write_table(tmp_path / "rows.csv", [Question("r", text, "bad", 0.5, "unsure")])
    rows = list(csv.reader(io.StringIO((tmp_path / "rows.csv").read_text(encoding="utf-8-sig"))))
    assert rows[1][1] == f"'{text}"


def test_lines_are_told_in_other_orders_and_with_more_columns(tmp_path):
    rows = [["label", "note", "row_id"], ["good", "sure", "shop/1"]]
    (found,) = read_table(saved(tmp_path / "filled.csv", rows))
    assert found.place.endswith("filled.csv:2") and found.text is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"filled\.csv:1: is empty"),
        (b"\r\n\r\n", r"filled\.csv:1: is empty"),
        (b"id,label\r\n1,good\r\n", r"filled\.csv:1: expected the columns row_id and label, got id, label"),
        (
            "row_id,label\r\na,gut\r\nb,größer\r\n".encode("cp1252"),
            r"filled\.csv:3: expected UTF-8 text, .*'CSV UTF-8'",
        ),
    ],
)
def test_what_is_no_filled_table(tmp_path, content, told):
    path = tmp_path / "filled.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_table(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="not found"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)
