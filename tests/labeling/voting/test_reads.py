import functools
import re

import polars as pl
import pytest
from snorkel.labeling import labeling_function
from snorkel.preprocess import preprocessor

from labeling.functions import keyword, regex
from labeling.voting.apply import vote_all
from labeling.voting.reads import columns_read

LABELS = ("bad", "good")
kept = []


def helper(x):
    return len(x.text)


@preprocessor()
def same(x):
    return x


def wrapped(function):
    @functools.wraps(function)
    def call(*rows):
        return function(*rows)

    return call


@wrapped
def hidden(x):
    x.text = "spoilt"
    return -1


def inner(x):
    def later():
        return x.text

    return 1 if later() else -1


def generates(x):
    yield x.text


def catches(x):
    try:
        return 1 if int(x.n) > 1 else -1
    except ValueError as error:
        return 0 if x.text in str(error) else -1


READS = {
    "an attribute": (lambda x: 1 if x.text else -1, ("text",)),
    "a method of it": (lambda x: 1 if x.text.lower().strip() else -1, ("text",)),
    "an item": (lambda x: 1 if x["text"] == x.n else -1, ("n", "text")),
    "in a comprehension": (lambda x: 1 if any(word in x.text for word in ("a", x.n)) else -1, ("n", "text")),
    "in a list": (lambda x: 1 if [w for w in x.text.split() if w != x.n] else -1, ("n", "text")),
    "nothing": (lambda _: 1, ()),
    "with a resource": (lambda x, words=("a",): 1 if x.text in words else -1, ("text",)),
    "with another name": (lambda row: 1 if re.search("x", row.text) else -1, ("text",)),
    "under try": (catches, ("n", "text")),
}
UNKNOWN = {
    "handed on": lambda x: 1 if helper(x) else -1,
    "written to": lambda x: setattr(x, "text", ""),
    "kept": lambda x: kept.append(x),
    "by a name that varies": lambda x: 1 if x[str(x.n)] else -1,
    "a method of the row": lambda x: x.text.lower() if x.get("text") else -1,
    "another name": lambda x: [y.text for y in [x]] and -1,
    "asked for": lambda x: 1 if hasattr(x, "text") else -1,
    "all its locals": lambda x: 1 if locals()["x"].text else -1,
    "a function inside": inner,
    "a wrapper": hidden,
    "a generator": generates,
    "an assignment": lambda x: (x := x) and -1,
}


@pytest.mark.parametrize(("function", "expected"), READS.values(), ids=READS)
def test_what_is_read(function, expected):
    assert columns_read(labeling_function(name="f")(function)) == expected


@pytest.mark.parametrize("function", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_told(function):
    assert columns_read(labeling_function(name="f")(function)) is None


def test_preprocessed_and_declared_functions():
    assert columns_read(labeling_function(name="f", pre=[same])(lambda x: x.n)) is None
    assert columns_read(regex("r", "bad", r"(a)\1", field="title")) == ("title",)
    assert columns_read(keyword("k", "bad", ["a"])) is None


def test_rows_are_read_whether_or_not_one_row_serves_all():
    rows = pl.DataFrame(
        {"row_id": ["a", "b", "c"], "text": ["x", "yy", "z"], "n": ["2", "0", "x"], "tags": [["t"], [], None]}
    )
    known = [labeling_function(name=name)(function) for name, (function, _) in READS.items()]
    nested = labeling_function(name="nested")(lambda x: x.tags.append("more") or 1 if x.tags else -1)
    again = labeling_function(name="again")(lambda x: 1 if x.tags == ["t"] else -1)
    absent = labeling_function(name="absent")(lambda x: 1 if x.subject else -1)
    voted = vote_all([*known, nested, again, absent], rows, LABELS)
    for function, found in zip(known, voted, strict=False):
        alone = [function(row) for row in rows.to_pandas().itertuples() if "item" not in function.name]
        assert not alone or found.column.tolist() == alone
    assert [v.column.tolist() for v in voted[-3:-1]] == [[1, -1, -1], [1, -1, -1]]
    assert (voted[-1].errors, voted[-1].first_error) == (
        3,
        "row 'a': AttributeError: 'Row' object has no attribute 'subject'",
    )
