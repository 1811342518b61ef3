from pathlib import Path

import polars as pl
import pytest

from labeling.duplicates import near_duplicate_groups
from ledger.errors import DataError
from tests.labeling.conftest import csv_of, messages, run_until, write_app


def test_no_test_text_nor_a_near_duplicate_of_one_is_in_the_corpus(small_app):
    rows = messages(100)
    copies = [(f"c{i}", row[1].upper() + "!", row[2], row[3]) for i, row in enumerate(rows[:40])]
    Path("sources/shop.csv").write_text(csv_of(rows + copies), encoding="utf-8")
    run_until(small_app, "fuse")
    corpus, test = pl.read_parquet(small_app.corpus), pl.read_parquet(small_app.test)
    texts = test["text"].to_list() + corpus["text"].to_list()
    groups = near_duplicate_groups(texts, 0.8).tolist()
    assert test.height > 5
    assert not set(groups[: test.height]) & set(groups[test.height :])


def test_published_test_rows_all_stay_and_hold_back_what_is_near(small_app):
    columns = {"id": "no", "text": "said", "label": "truth", "place": "place"}
    rows = messages(60)
    near = [(f"n{i}", row[1] + "!", row[2], row[3]) for i, row in enumerate(rows[:5])]
    twice = [("t1", "thanks", "good", "x"), ("t2", "thanks", "good", "x")]
    Path("sources/shop.csv").write_text(csv_of(rows[5:] + near), encoding="utf-8")
    Path("sources/test.csv").write_text(csv_of(rows[:5] + twice), encoding="utf-8")
    write_app(
        small_app,
        {
            "sources": {
                "shop": {"file": "shop.csv", "columns": columns, "split": "train"},
                "test": {"file": "test.csv", "columns": columns, "split": "test"},
            }
        },
    )
    run_until(small_app, "fuse")
    aside = pl.read_parquet(small_app.set_aside)
    assert pl.read_parquet(small_app.test).height == 7
    assert aside["record"].to_list() == [f"shop/n{i}" for i in range(5)]
    assert aside["reason"].unique().to_list() == ["held back: nearly the same as a test text"]


def test_every_record_is_a_row_or_set_aside_with_a_reason(small_app):
    rows = messages(50) + [(f"d{i}", row[1], row[2], "web") for i, row in enumerate(messages(9))]
    Path("sources/shop.csv").write_text(csv_of(rows), encoding="utf-8")
    run_until(small_app, "fuse")
    records = set(pl.read_parquet(small_app.records)["record"])
    kept = set(pl.read_parquet(small_app.corpus)["row_id"]) | set(pl.read_parquet(small_app.test)["row_id"])
    aside = pl.read_parquet(small_app.set_aside)
    assert kept | set(aside["record"]) == records
    assert not kept & set(aside["record"])
    assert aside["reason"].str.len_chars().min() > 0


def test_the_corpus_does_not_know_the_labels_of_its_train_rows(small_app):
    run_until(small_app, "fuse")
    corpus = pl.read_parquet(small_app.corpus)
    assert set(corpus["split"]) == {"train", "gold"}
    assert set(corpus.filter(pl.col("split") == "train")["label"]) == {-1}
    assert set(corpus.filter(pl.col("split") == "gold")["label"]) == {0, 1}
    assert set(pl.read_parquet(small_app.truth)["row_id"]) == set(corpus.filter(pl.col("split") == "train")["row_id"])


def test_conflicting_fields_are_settled_by_the_stated_reliability(small_app):
    columns = {"id": "no", "text": "said", "label": "truth", "place": "place"}
    rows = messages(40)
    Path("sources/shop.csv").write_text(csv_of([(*row[:3], "here") for row in rows]), encoding="utf-8")
    Path("sources/web.csv").write_text(csv_of([(*row[:3], "there") for row in rows]), encoding="utf-8")
    write_app(
        small_app,
        {
            "sources": {
                "shop": {"file": "shop.csv", "columns": columns, "reliability": 0.6},
                "web": {"file": "web.csv", "columns": columns, "reliability": 0.9},
            }
        },
    )
    run_until(small_app, "fuse")
    assert pl.read_parquet(small_app.corpus)["place"].unique().to_list() == ["there"]
    assert pl.read_parquet(small_app.corpus)["sources"].to_list()[0] == ["shop", "web"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(i, t, "good", p) for i, t, _, p in messages(40)], "every known label is 'good'; expected at least two of"),
        ([(i, t, "", p) for i, t, _, p in messages(40)], "no labeled message for the test; map a 'label' column"),
    ],
)
def test_a_corpus_that_cannot_be_measured_is_refused(small_app, rows, expected):
    Path("sources/shop.csv").write_text(csv_of(rows), encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        run_until(small_app, "fuse")


def test_rows_of_a_published_split_without_a_label(small_app):
    """A test row without a label measures nothing and is set aside; a gold one is text to learn from."""
    columns = {"id": "no", "text": "said", "label": "truth", "place": "place"}
    rows = messages(60)
    names = {"shop": (rows[:30], "train"), "valid": (rows[30:40], "gold"), "test": (rows[40:], "test")}
    for name, (part, _) in names.items():
        unlabeled = [(part[0][0], part[0][1], "", part[0][3]), *part[1:]]
        Path(f"sources/{name}.csv").write_text(csv_of(unlabeled), encoding="utf-8")
    sources = {name: {"file": f"{name}.csv", "columns": columns, "split": split} for name, (_, split) in names.items()}
    write_app(small_app, {"sources": sources})
    run_until(small_app, "label")
    corpus, aside = pl.read_parquet(small_app.corpus), pl.read_parquet(small_app.set_aside)
    assert corpus.filter(pl.col("row_id") == "valid/30")["split"].to_list() == ["train"]
    assert corpus.filter(pl.col("split") == "gold").height == 9
    assert aside.filter(pl.col("record") == "test/40")["reason"].to_list() == [
        "a test message without a label: nothing to measure by"
    ]
    assert pl.read_parquet(small_app.test).height == 19
