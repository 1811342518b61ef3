import numpy as np
import polars as pl

from labeling.embeddings import write_embeddings
from labeling.uncovered import cluster_texts, distinguishing_terms, vectors_for, vectors_of

PARCELS = [f"my parcel number {n} has not arrived at the depot" for n in range(12)]
BILLS = [f"the invoice of {n} euros was charged twice to my card" for n in range(7)]


def rows_of(texts):
    return pl.DataFrame(
        {"row_id": [f"r{n}" for n in range(len(texts))], "text": texts}, schema={"row_id": pl.String, "text": pl.String}
    )


def test_topics_fall_apart_and_are_named_by_their_terms():
    texts = [*PARCELS, *BILLS]
    first, second = cluster_texts(rows_of(texts), vectors_of(texts), ["hello my friend"] * 5, 2)
    assert (first.size, second.size) == (12, 7)
    assert {"parcel", "depot"} & set(" ".join(first.terms).split())
    assert {"invoice", "charged"} & set(" ".join(second.terms).split())
    assert "my" not in first.terms
    assert all(text in PARCELS for _, text in first.examples) and len(first.examples) == 3
    assert "members" not in first.as_json()


def test_the_same_rows_give_the_same_clusters():
    texts = [*BILLS, *PARCELS]
    found = [cluster_texts(rows_of(texts), vectors_of(texts), (), None) for _ in range(2)]
    assert found[0] == found[1]


def test_embeddings_are_taken_where_they_are_of_these_rows(small_app):
    rows = rows_of(["late", "fine"])
    small_app.corpus.parent.mkdir(parents=True)
    path = small_app.corpus.with_name("embeddings.parquet")
    assert vectors_for(small_app, rows).shape == vectors_of(["late", "fine"]).shape
    known = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    write_embeddings(path, pl.Series(["other", "r0", "r1"]), known, ("bad", "good"), {"name": "minilm"})
    assert vectors_for(small_app, rows).tolist() == known[1:].tolist()
    write_embeddings(path, pl.Series(["other", "r0", "r9"]), known, ("bad", "good"), {"name": "minilm"})
    assert np.array_equal(vectors_for(small_app, rows), vectors_of(["late", "fine"]))


def test_nothing_uncovered():
    assert cluster_texts(rows_of([]), vectors_of([]), ["hello"], None) == []


def test_few_odd_and_equal_texts():
    for texts in (["hi"], ["!!", "??"], ["same", "same", "same"], ["это", "größer als", "送料無料"], ["", " "]):
        found = cluster_texts(rows_of(texts), vectors_of(texts), (), 5)
        assert sum(cluster.size for cluster in found) == len(texts)


def test_a_term_as_frequent_elsewhere_names_nothing():
    (terms,) = distinguishing_terms(["the lamp"] * 4, np.zeros(4, dtype=int), 1, ["the kettle"] * 40)
    assert terms[0].startswith(("lamp", "the lamp")) and "the" not in terms
