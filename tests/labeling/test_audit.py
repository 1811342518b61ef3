import json

import polars as pl

from labeling.training_set import read_training_set
from tests.labeling.conftest import FUNCTIONS, run_until


def test_every_row_of_the_corpus_is_in_the_training_set_once(small_app):
    run_until(small_app, "audit")
    training_set, corpus = read_training_set(small_app.training_set), pl.read_parquet(small_app.corpus)
    assert training_set.rows["row_id"].equals(corpus["row_id"])
    report = json.loads(small_app.audit_report.read_text())
    assert report["trained"] + report["unlabeled"] + report["gold"] == report["rows"]


def test_gold_rows_keep_the_hands_label_and_are_not_trained_on(small_app):
    run_until(small_app, "audit")
    corpus = pl.read_parquet(small_app.corpus).filter(pl.col("split") == "gold")
    gold = read_training_set(small_app.training_set).split("gold")
    assert gold.select("row_id", "label").equals(corpus.select("row_id", "label"))


def test_an_uncovered_row_stays_as_unlabeled_text_where_texts_are_not_heard(small_app):
    path = small_app.root / "params.yaml"
    path.write_text(path.read_text().replace("text: true", "text: false"))
    code = FUNCTIONS.replace('["great", "love", "fine"]', '["great", "love"]')
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    run_until(small_app, "audit")
    unlabeled = read_training_set(small_app.training_set).split("unlabeled")
    assert unlabeled.filter(pl.col("text").str.contains("fine")).height > 5
    assert set(unlabeled["weight"]) == {0.0}
    queue = pl.read_csv(small_app.review_queue)
    assert set(queue.filter(pl.col("why") == "uncovered")["row_id"]) <= set(unlabeled["row_id"])


def test_an_uncovered_row_is_labeled_by_its_text_where_that_is_sure(small_app):
    code = FUNCTIONS.replace('["great", "love", "fine"]', '["great", "love"]')
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    run_until(small_app, "audit")
    labels = pl.read_parquet(small_app.labels)
    assert labels["text_heard"].all() and not labels["covered"].all()
    train = read_training_set(small_app.training_set).split("train").filter(pl.col("text").str.contains("fine"))
    assert train.height > 5
    uncovered = labels.filter(~pl.col("covered"))["row_id"].to_list()
    assert train["row_id"].is_in(uncovered).any()


def test_a_wrong_label_is_found_and_left_to_the_teacher(small_app):
    blunder = FUNCTIONS.replace(
        "FUNCTIONS = [", 'FUNCTIONS = [\n    keyword("blunder", "bad", ["street 31", "street 62"]),'
    )
    blunder = blunder.replace(
        'expression("shouts"', 'keyword("blunder2", "bad", ["street 31", "street 62"]), expression("shouts"'
    )
    (small_app.app_folder / "functions.py").write_text(blunder, encoding="utf-8")
    run_until(small_app, "audit")
    report = json.loads(small_app.audit_report.read_text())
    assert report["classes"].keys() == {"bad", "good"}
    assert min(report["classes"].values()) > 20


def test_the_same_commit_gives_the_same_bytes_up_to_audit(small_app):
    outputs = [
        small_app.records,
        small_app.rejected,
        small_app.corpus,
        small_app.test,
        small_app.truth,
        small_app.set_aside,
        small_app.votes,
        small_app.labels,
        small_app.label_model,
        small_app.training_set,
        small_app.review_queue,
        small_app.collect_report,
        small_app.fuse_report,
        small_app.vote_report,
        small_app.functions_report,
        small_app.audit_report,
    ]
    run_until(small_app, "audit")
    first = [path.read_bytes() for path in outputs]
    for path in outputs:
        path.unlink()
    run_until(small_app, "audit")
    assert [path.name for path, one in zip(outputs, first, strict=True) if path.read_bytes() != one] == []
