import importlib.util
import sys
import textwrap

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.functions import ABSTAIN, column, expression, keyword, load_functions, regex
from labeling.voting.code import Fingerprints, UnknownError
from labeling.voting.fingerprint import fingerprints_of_columns, keys_of

LABELS = ("bad", "good")
ROWS = pl.DataFrame({"row_id": ["a", "b"], "text": ["Great", "late"], "n": [1, 2], "label": [0, 1]})

CODE = """
import re
import functools
from collections import Counter
from labeling.functions import keyword
from snorkel.labeling import labeling_function
from snorkel.preprocess import preprocessor

LIMIT = 3
WORDS = {"great", "fine"}
PATTERN = re.compile("gr.at")
TABLE = {"a": [1, 2]}


def clean(text):
    return text.strip().lower()


def helper(text):
    return clean(text) in WORDS


class Rule:
    least = 2

    def holds(self, x):
        return x.n > self.least


RULE = Rule()


@preprocessor(memoize=True)
def lower(x):
    x.low = clean(x.text)
    return x


@labeling_function()
def by_helper(x):
    return 1 if helper(x.text) else -1


@labeling_function()
def by_pattern(x):
    return 1 if PATTERN.search(x.text) and any(len(word) > LIMIT for word in x.text.split()) else -1


@labeling_function(resources={"table": TABLE})
def by_resource(x, table):
    return 1 if x.n in table["a"] else -1


@labeling_function(pre=[lower])
def by_preprocessor(x):
    return 1 if x.low == "great" else -1


@labeling_function()
def by_instance(x):
    return 1 if RULE.holds(x) else -1


def make(least):
    @labeling_function(name="closes")
    def closes(x):
        return 1 if x.n > least else -1

    return closes


@functools.lru_cache
def counted(text):
    return Counter(text)


@labeling_function()
def by_cached(x, least=2):
    return 1 if counted(x.text)["e"] >= least else -1


FUNCTIONS = [by_helper, by_pattern, by_resource, by_preprocessor, by_instance, make(1), by_cached, keyword("k", "good", ["great"])]
"""
NAMES = {"by_helper", "by_pattern", "by_resource", "by_preprocessor", "by_instance", "closes", "by_cached", "k"}


def keys(folder, code, rows=ROWS, labels=LABELS):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "functions.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return keys_of(load_functions(folder, labels), rows.drop("label"), labels)


def changed(before, after):
    assert set(before) == set(after)
    return {name for name in before if before[name] != after[name]}


def test_every_function_of_the_example_has_a_key(tmp_path):
    assert set(keys(tmp_path / "a", CODE)) == NAMES


def test_a_folders_name_comments_and_layout_do_not_count(tmp_path):
    laid_out = (
        CODE.replace(
            "    return text.strip().lower()",
            '    """Say it."""\n\n    # a comment\n    return (\n        text.strip()\n        .lower()\n    )',
        )
        .replace("import re\n", "# first\n\n\nimport re\n", 1)
        .replace("if helper(x.text) else -1", "if (helper(\n  x.text)) else -1  # here")
    )
    assert changed(keys(tmp_path / "a", CODE), keys(tmp_path / "b", laid_out)) == set()


@pytest.mark.parametrize(
    ("old", "new", "voters"),
    [
        ("text.strip().lower()", "text.strip()", {"by_helper", "by_preprocessor"}),
        ("LIMIT = 3", "LIMIT = 4", {"by_pattern"}),
        ("LIMIT = 3", "LIMIT = 3.0", {"by_pattern"}),
        ('"fine"}', '"good"}', {"by_helper"}),
        ('re.compile("gr.at")', 're.compile("gr.at", re.I)', {"by_pattern"}),
        ("[1, 2]}", "[1, 3]}", {"by_resource"}),
        ("x.low = clean", "x.low = 2 * clean", {"by_preprocessor"}),
        ("least = 2\n", "least = 1\n", {"by_instance"}),
        ("x.n > self.least", "x.n >= self.least", {"by_instance"}),
        ("make(1)", "make(2)", {"closes"}),
        ("Counter(text)", "Counter(text * 2)", {"by_cached"}),
        ("least=2", "least=3", {"by_cached"}),
        ('"k", "good", ["great"]', '"k", "good", ["great", "fine"]', {"k"}),
        ("1 if RULE.holds(x) else -1", "0 if RULE.holds(x) else -1", {"by_instance"}),
        ("len(word) > LIMIT", "len(word) < LIMIT", {"by_pattern"}),
    ],
)
def test_an_edit_changes_those_that_it_reaches_and_no_other(tmp_path, old, new, voters):
    assert old in CODE
    assert changed(keys(tmp_path / "a", CODE), keys(tmp_path / "a", CODE.replace(old, new))) == voters


def test_a_helper_in_a_module_of_ones_own_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code = (
        "import helping\nfrom snorkel.labeling import labeling_function\n"
        "@labeling_function()\ndef one(x):\n    return 1 if helping.clean(x.text) else -1\n"
        "@labeling_function()\ndef two(x):\n    from helping import other\n    return 1 if other(x.text) else -1\n"
        "FUNCTIONS = [one, two]\n"
    )
    found = []
    for body in ("text", "text.lower()"):
        (tmp_path / "helping.py").write_text(f"def clean(text):\n    return {body}\n\ndef other(text):\n    return 1\n")
        sys.modules.pop("helping", None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True
        found.append(keys(tmp_path / "a", code))
    assert changed(*found) == {"one"}


def test_of_the_rows_only_what_a_function_may_read_counts(tmp_path):
    before = keys(tmp_path / "a", CODE)
    assert changed(before, keys(tmp_path / "a", CODE, ROWS.with_columns(n=pl.Series([1, 3])))) == {
        "by_instance",
        "by_preprocessor",
        "by_resource",
        "closes",
    }
    assert changed(before, keys(tmp_path / "a", CODE, ROWS.with_columns(label=pl.Series([1, 1])))) == set()
    assert changed(before, keys(tmp_path / "a", CODE, ROWS.reverse())) == NAMES
    assert changed(before, keys(tmp_path / "a", CODE, labels=("good", "bad"))) == NAMES


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("open(x.text).read()", "it uses 'open'"),
        ("random.random()", "it uses 'random'"),
        ("datetime.now().hour > 3", "it uses 'now'"),
        ("FILE.closed", "it uses a _io"),
        ("count()", "it changes 'SEEN'"),
        ("hash(x.text) % 2", "it uses 'hash'"),
        ("LOCK", "_thread"),
    ],
)
def test_what_cannot_be_told_is_not_cached_and_the_log_says_why(tmp_path, caplog, body, reason):
    code = (
        "import random, os, threading\nfrom datetime import datetime\nfrom snorkel.labeling import labeling_function\n"
        "FILE = open(os.devnull)\nLOCK = threading.Lock()\nSEEN = 0\n"
        "def count():\n    global SEEN\n    SEEN += 1\n    return SEEN > 1\n"
        f"@labeling_function()\ndef one(x):\n    return 1 if {body} else -1\nFUNCTIONS = [one]\n"
    )
    caplog.set_level("INFO")
    assert keys(tmp_path / "a", code) == {}
    assert "'one' votes on every run" in caplog.text and reason in caplog.text


def test_functions_that_call_each_other_have_fingerprints(tmp_path):
    def code(end):
        return (
            "from snorkel.labeling import labeling_function\n"
            f"def a(n):\n    return b(n - 1) if n > 0 else {end}\n"
            "def b(n):\n    return a(n - 1) if n > 0 else 0\n"
            "one = labeling_function(name='one')(lambda x: 1 if a(x.n) else -1)\n"
            "two = labeling_function(name='two')(lambda x: 1 if b(x.n) else -1)\nFUNCTIONS = [one, two]\n"
        )

    assert changed(keys(tmp_path / "a", code(1)), keys(tmp_path / "a", code(2))) == {"one", "two"}


def test_an_expression_that_runs_python_is_not_cached():
    hidden = expression("hidden", "bad", pl.col("text").map_elements(len, return_dtype=pl.Int64) > 3)
    plain = expression("plain", "bad", pl.col("text").str.len_chars() > 3)
    assert set(keys_of([hidden, plain], ROWS, LABELS)) == {"plain"}


def test_a_wildcard_reads_every_column():
    every = expression("every", "bad", pl.any_horizontal(pl.col(pl.String).str.contains("x")))
    some = [keyword("k", "bad", ["x"]), regex("r", "bad", "x"), column("c", "text", {"x": "bad"})]
    before = keys_of([every, *some], ROWS, LABELS)
    after = keys_of([every, *some], ROWS.with_columns(row_id=pl.Series(["a", "x"])), LABELS)
    assert changed(before, after) == {"every"}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.text(max_size=4), st.none() | st.lists(st.integers(0, 3), max_size=2)), max_size=6
    )
)
def test_a_lazy_table_has_the_fingerprints_of_a_whole_one(values):
    schema = {"t": pl.String, "l": pl.List(pl.Int64)}
    rows = pl.DataFrame({"t": [t for t, _ in values], "l": [v for _, v in values]}, schema=schema)
    assert fingerprints_of_columns(rows, rows.columns) == fingerprints_of_columns(rows.lazy(), rows.columns)
    more = pl.concat([rows, pl.DataFrame({"t": [None], "l": [None]}, schema=schema)])
    assert not set(fingerprints_of_columns(rows, rows.columns).items()) & set(
        fingerprints_of_columns(more, rows.columns).items()
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.frozensets(st.text())
    ),
    max_leaves=8,
)


@given(JSON, JSON)
def test_data_has_the_same_fingerprint_if_it_says_the_same(one, other):
    same = Fingerprints().of(one) == Fingerprints().of(other)
    assert same == (repr(one) == repr(other) or (one == other and type(one) is frozenset))


def test_a_fingerprint_is_the_same_in_another_process():
    import subprocess

    code = "from labeling.voting.code import Fingerprints as F; print(F().of([{'a', 'b', 'c', 'd', 'e'}, len, print, {1: (2.5, None)}]))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        for seed in "12"
    ]
    assert runs[0].stdout == runs[1].stdout != ""


def test_an_object_of_an_unknown_class_is_named():
    with pytest.raises(UnknownError, match=r"it uses a decimal\.Context, whose state is not known"):
        import decimal

        Fingerprints().of(decimal.getcontext())
    assert ABSTAIN == -1
