from pathlib import Path

import polars as pl
import pytest

from labeling.collect import clean, main
from ledger.errors import DataError
from ledger.meter import Usage
from tests.labeling.conftest import csv_of, messages, write_app


def collect(places):
    main(places, Usage("collect"), "sources")


def test_rows_that_cannot_be_used_are_kept_with_a_reason(small_app):
    rows = [*messages(10), ("x1", "   ", "good", "web"), ("x2", "words", "splendid", "web"), ("x3", "", "bad", "web")]
    Path("sources/shop.csv").write_text(csv_of(rows), encoding="utf-8")
    collect(small_app)
    rejected = pl.read_parquet(small_app.rejected)
    assert pl.read_parquet(small_app.records).height == 10
    assert rejected.select("id", "row", "reason").rows() == [
        ("x1", 11, "no text"),
        ("x2", 12, "label 'splendid' is not one of bad, good"),
        ("x3", 13, "no text"),
    ]


def test_a_row_without_a_label_is_kept(small_app):
    Path("sources/shop.csv").write_text(csv_of([("1", "words", "", "web")]), encoding="utf-8")
    collect(small_app)
    assert pl.read_parquet(small_app.records)["label"].to_list() == [None]


def test_an_id_used_twice_names_two_records(small_app):
    Path("sources/shop.csv").write_text(csv_of([("1", "a b", "good", "w"), ("1", "c d", "bad", "w")]), encoding="utf-8")
    collect(small_app)
    assert pl.read_parquet(small_app.records)["record"].to_list() == ["shop/1", "shop/1#2"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, r"sources/shop\.csv: source 'shop' not found; expected a file there"),
        (b"", r"sources/shop\.csv: source 'shop' is empty; expected at least one row"),
        (b"no,said,truth,place\n", r"sources/shop\.csv: source 'shop' has a header and no row"),
        (
            b"no,words,truth,place\n1,a,good,x\n",
            r"no column 'said' \(mapped to 'text' of source 'shop'.*the file has: no, words",
        ),
        (
            b"no,said,truth,place\n1,fine,good,x\n2,caf\xe9,good,x\n",
            r"sources/shop\.csv:3: not utf-8 \(byte 0xe9.*'encoding'",
        ),
        (b"no,said,truth,place\n1,a,good,x\n2,a,b,c,d,e\n", r"sources/shop\.csv:3: expected a CSV with as many cells"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(small_app, content, expected):
    path = Path("sources/shop.csv")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=expected):
        collect(small_app)


def test_no_usable_row_at_all_is_an_error(small_app):
    Path("sources/shop.csv").write_text(csv_of([("1", " ", "good", "w")]), encoding="utf-8")
    with pytest.raises(DataError, match="no usable row in any source"):
        collect(small_app)


def test_a_stated_encoding_is_used(small_app):
    Path("sources/shop.csv").write_bytes("no,said,truth,place\n1,café,good,x\n".encode("latin-1"))
    write_app(
        small_app,
        {
            "sources": {
                "shop": {"file": "shop.csv", "encoding": "latin-1", "columns": {"text": "said", "label": "truth"}}
            }
        },
    )
    collect(small_app)
    assert pl.read_parquet(small_app.records)["text"].to_list() == ["café"]


def test_the_same_sources_give_the_same_bytes(small_app):
    collect(small_app)
    first = small_app.records.read_bytes()
    collect(small_app)
    assert small_app.records.read_bytes() == first


def test_clean_mends_mojibake_and_drops_invisible_marks():
    assert clean("cafÃ©  \ufeff") == "café"
    assert clean(" \ufeff ") is None
    assert clean(None) is None
