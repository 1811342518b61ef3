from multiprocessing import Process

import polars as pl
import pytest

from labeling.gold import Answer, add_answers, hash_of, read_answers, settle_answers, standing_answers
from ledger.errors import DataError
from tests.labeling.conftest import run_until

LABELS = ("bad", "good")


def answer(row="r", label="bad", who="ann", when="2026-11-25T09:00:00Z", text="late"):
    return Answer(row, label, who, when, hash_of(text))


def test_each_persons_latest_answer_counts_the_majority_wins_a_tie_goes_to_the_latest():
    ann, later = answer(), answer(label="good", when="2026-11-25T10:00:00Z")
    bob, eve = answer(who="bob", when="2026-11-25T09:30:00Z"), answer(who="eve")
    assert settle_answers([later, ann])["r"].label == "good"
    assert settle_answers([ann, later, bob])["r"].label == "good"
    assert settle_answers([ann, later, bob, eve])["r"].label == "bad"


def test_an_answer_about_another_text_is_passed_over():
    settled, passed_over = standing_answers([answer(), answer("s"), answer("t", text="x")], {"r": "late", "t": "y"})
    assert (list(settled), passed_over) == (["r"], 2)


def test_what_says_nothing_new_is_not_added_twice(tmp_path):
    path = tmp_path / "gold.csv"
    changed = answer(label="good", when="2026-11-26T09:00:00Z")
    assert add_answers(path, LABELS, [answer(), answer(), changed]) == [answer(), changed]
    before = path.read_bytes()
    again = [answer(), changed, answer(label="good", when="2026-11-27T09:00:00Z")]
    assert add_answers(path, LABELS, again) == []
    assert path.read_bytes() == before


def test_an_empty_file_holds_no_answers(tmp_path):
    path = tmp_path / "gold.csv"
    for content in ("", "row_id,label,who,when,text_hash\n"):
        path.write_text(content)
        assert read_answers(path, LABELS) == []
        assert add_answers(path, LABELS, [answer()]) == [answer()] == read_answers(path, LABELS)


def test_the_file_is_in_order_whoever_answers_first(tmp_path):
    given = [answer("b"), answer("a", when="2026-11-26T09:00:00Z"), answer("a", "good"), answer("é", who="Zoë")]
    files = [tmp_path / "one.csv", tmp_path / "two.csv"]
    add_answers(files[0], LABELS, given)
    for one in reversed(given):
        add_answers(files[1], LABELS, [one])
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [a.row_id for a in read_answers(files[0], LABELS)] == ["a", "a", "b", "é"]


def add_many(path, who):
    for n in range(20):
        add_answers(path, LABELS, [answer(f"r{n}", who=who)])


def test_two_people_at_once_lose_no_answer(tmp_path):
    path = tmp_path / "gold.csv"
    people = [Process(target=add_many, args=(path, who)) for who in ("ann", "bob")]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert len(read_answers(path, LABELS)) == 40


def test_every_fault_of_the_file_is_told_with_its_line(tmp_path):
    path = tmp_path / "gold.csv"
    path.write_text(
        "row_id,label,who,when,text_hash\nr,fine,ann,2026-01-01,0\nr,bad,,2026-01-01,0\nr,bad,ann,monday,0\n"
    )
    with pytest.raises(DataError) as told:
        read_answers(path, LABELS)
    assert [line.split(": ")[0] for line in str(told.value).splitlines()] == [f"{path}:{n}" for n in (2, 3, 4)]


def test_a_reviewed_row_is_gold_and_no_other_row_moves(small_app):
    run_until(small_app, "fuse")
    before, test = pl.read_parquet(small_app.corpus), small_app.test.read_bytes()
    row = before.filter(pl.col("split") == "train").row(0, named=True)
    add_answers(small_app.gold_answers, LABELS, [answer(row["row_id"], "good", text=row["text"])])
    run_until(small_app, "fuse")
    after = pl.read_parquet(small_app.corpus)
    moved = after.filter(pl.col("row_id") == row["row_id"]).row(0, named=True)
    assert (moved["split"], moved["label"]) == ("gold", 1)
    others = pl.col("row_id") != row["row_id"]
    assert after.filter(others).equals(before.filter(others)) and small_app.test.read_bytes() == test
