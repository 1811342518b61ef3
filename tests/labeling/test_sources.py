import json

import polars as pl
import pytest

from labeling.app import Source
from labeling.sources import read_source, read_wrench
from ledger.errors import DataError


def source(file, **more):
    return Source(file=file, columns={"text": "t"}, **more)


def test_the_three_formats_give_the_same_table(tmp_path):
    (tmp_path / "a.csv").write_text("t,n\nhello,1\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"t": "hello", "n": 1}\n\n', encoding="utf-8")
    pl.DataFrame({"t": ["hello"], "n": [1]}).write_parquet(tmp_path / "a.parquet")
    tables = [read_source("a", source(f"a.{kind}"), tmp_path).rows() for kind in ("csv", "jsonl", "parquet")]
    assert tables == [[(1, "hello", "1")]] * 3


def test_a_broken_json_line_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"t": "x"}\n{"t": \n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl:2: expected one JSON object a line"):
        read_source("a", source("a.jsonl"), tmp_path)


def test_what_is_no_parquet_is_said(tmp_path):
    (tmp_path / "a.parquet").write_text("words", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.parquet: expected a Parquet file"):
        read_source("a", source("a.parquet"), tmp_path)


def test_an_unknown_format_asks_for_one(tmp_path):
    (tmp_path / "a.dat").write_text("words", encoding="utf-8")
    with pytest.raises(DataError, match=r"unknown format '\.dat'; add 'format: csv'"):
        read_source("a", source("a.dat"), tmp_path)


def test_an_unknown_encoding_is_said(tmp_path):
    (tmp_path / "a.csv").write_text("t\nx\n", encoding="utf-8")
    with pytest.raises(DataError, match="unknown encoding 'utf-9'"):
        read_source("a", source("a.csv", encoding="utf-9"), tmp_path)


def test_wrench_votes_become_columns(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"0": {"data": {"text": "hi"}, "label": 1, "weak_labels": [-1, 0]}}), encoding="utf-8")
    assert read_wrench(path).row(0, named=True) == {
        "id": "0",
        "text": "hi",
        "label": "1",
        "vote_0": "-1",
        "vote_1": "0",
    }
    path.write_text('{"0": {}}', encoding="utf-8")
    with pytest.raises(DataError, match="expected WRENCH's JSON"):
        read_wrench(path)


def test_json_lines_as_other_programs_write_them(tmp_path):
    """A line separator inside a text ends no line; half an emoji is replaced, since no table can hold it."""
    (tmp_path / "a.jsonl").write_text('{"t": "one\u2028two"}\r\n{"t": "cut \\ud83d"}\n', encoding="utf-8")
    assert read_source("a", source("a.jsonl"), tmp_path)["t"].to_list() == ["one\u2028two", "cut ?"]
