import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.duplicates import normalize, shingles, similarity
from labeling.gold import Answer, add_answers, hash_of
from labeling.review import (
    ALIKE,
    SHARES,
    Pool,
    balanced,
    by_disagreement,
    by_hash,
    by_margin,
    choose_questions,
    read_pool,
    take_in_turn,
)
from labeling.uncovered import vectors_of
from tests.labeling.conftest import run_until

LABELS = ("bad", "good")
WORDS = [
    "kettle",
    "lamp",
    "phone",
    "router",
    "chair",
    "invoice",
    "parcel",
    "garden",
    "window",
    "summer",
    "street",
    "piano",
]


def pool_of(matrix, probabilities, texts=None, issues=()):
    ids = [f"r{n}" for n in range(len(matrix))]
    rows = pl.DataFrame(
        {"row_id": ids, "text": texts or [f"{WORDS[n % 12]} {n} {WORDS[n * 7 % 11]}" for n in range(len(ids))]}
    )
    votes = np.array(matrix, dtype=np.int8)
    silent = np.flatnonzero((votes == -1).all(axis=1))
    vectors = vectors_of(rows["text"][silent.tolist()].to_list())
    return Pool(rows, votes, np.array(probabilities), tuple(issues), silent, vectors)


def test_the_smallest_margin_of_a_covered_row_comes_first():
    pool = pool_of([[0], [1], [-1], [0]], [[0.9, 0.1], [0.45, 0.55], [0.5, 0.5], [0.7, 0.3]])
    assert by_margin(pool) == [1, 3, 0]


def test_the_most_divided_votes_come_first_and_agreement_not_at_all():
    pool = pool_of([[0, 0, 1], [0, 1, -1], [1, 1, 1], [-1, -1, -1], [0, 0, 0]], [[0.5, 0.5]] * 5)
    assert by_disagreement(pool) == [1, 0]


def test_guessed_labels_take_turns():
    assert balanced([5, 3, 1, 0, 2], np.array([0, 1, 0, 0, 1, 0])) == [5, 1, 3, 0, 2]


def test_random_rows_do_not_move_with_the_others():
    pool = pool_of([[0]] * 30, [[0.5, 0.5]] * 30)
    order = [pool.rows["row_id"][i] for i in by_hash(pool, 1)]
    fewer = pool_of(pool.matrix[:20], pool.probabilities[:20])
    kept = {f"r{n}" for n in range(20)}
    assert [fewer.rows["row_id"][i] for i in by_hash(fewer, 1)] == [name for name in order if name in kept]
    assert by_hash(pool, 2) != by_hash(pool, 1)


def test_a_batch_is_divided_as_the_shares_say_and_holds_nothing_twice():
    draw = np.random.default_rng(3)
    matrix = draw.integers(-1, 2, (400, 3))
    matrix[:80] = -1
    texts = [" ".join(draw.choice(list("abcdefghijklmnopqrstuvwxyz"), 40)) for _ in range(400)]
    first = draw.random(400)
    pool = pool_of(matrix, np.column_stack([first, 1 - first]), texts, [f"r{n}" for n in range(100, 200)])
    questions = choose_questions(pool, LABELS, 40)
    counted = {why: sum(q.why == why for q in questions) for why in SHARES}
    assert counted == {why: round(40 * part) for why, part in SHARES.items()}
    assert len({q.row_id for q in questions}) == 40
    assert choose_questions(pool, LABELS, 40) == questions


@given(
    st.lists(st.sampled_from(["aaa bbb ccc", "aaa bbb ccd", "xyz uvw", "x", "größe", "", "!!"]), max_size=12),
    st.integers(1, 8),
)
@settings(max_examples=60)
def test_no_two_chosen_rows_are_alike(texts, count):
    everything = range(len(texts))
    chosen = take_in_turn({why: list(everything) for why in SHARES}, texts, count)
    grams = [shingles(normalize(texts[i])) for i, _ in chosen]
    assert all(similarity(a, b) < ALIKE for n, a in enumerate(grams) for b in grams[:n])
    assert len(chosen) <= count


def test_an_empty_pool_gives_nothing():
    assert choose_questions(pool_of(np.zeros((0, 2)), np.zeros((0, 2))), LABELS, 5) == []


def test_neither_gold_nor_test_nor_answered_rows_are_asked_about(small_app):
    run_until(small_app, "audit")
    _, pool = read_pool(small_app)
    corpus = pl.read_parquet(small_app.corpus)
    train = corpus.filter(pl.col("split") == "train")
    assert pool.rows["row_id"].to_list() == train["row_id"].to_list()
    assert not set(pool.rows["row_id"]) & set(pl.read_parquet(small_app.test)["row_id"])
    row = train.row(0, named=True)
    answer = Answer(row["row_id"], "good", "ann", "2026-11-25T09:00:00Z", hash_of(row["text"]))
    add_answers(small_app.gold_answers, LABELS, [answer])
    _, fewer = read_pool(small_app)
    assert fewer.rows.height == train.height - 1 and row["row_id"] not in fewer.rows["row_id"]
    assert len(fewer.matrix) == len(fewer.probabilities) == fewer.rows.height
    questions = choose_questions(fewer, LABELS, 10_000)
    assert {q.row_id for q in questions} <= set(fewer.rows["row_id"])


def test_all_reasons_are_told(small_app):
    run_until(small_app, "audit")
    labels, pool = read_pool(small_app)
    for question in choose_questions(pool, labels, 12):
        assert question.why in SHARES and question.guess in labels and 0 <= question.confidence <= 1


@pytest.mark.parametrize("missing", ["votes", "labels"])
def test_before_a_run_the_missing_table_is_told(small_app, missing):
    run_until(small_app, "label")
    getattr(small_app, missing).unlink()
    with pytest.raises(Exception, match=rf"{missing}\.parquet: not found; run the stage that writes it"):
        read_pool(small_app)
