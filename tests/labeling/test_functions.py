from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from snorkel.labeling import LFApplier, PandasLFApplier

from labeling.functions import column, expression, keyword, line_of_function, load_functions, regex
from labeling.vote import label_matrix
from ledger.errors import FunctionError

LABELS = ("HAM", "SPAM")
TEXTS = ["Check  out my channel", "I love this song", "checkout", "100 $ for you", "ÉCOLE is out", ""]


def declared():
    functions = [
        keyword("check", "SPAM", ["check out", "$"]),
        regex("love", "HAM", r"\blove\b|école"),
        expression("short", "HAM", pl.col("text").str.len_chars() < 10),
        column("annotator", "said", {"yes": "SPAM", "no": "HAM"}),
    ]
    return [function.bind(LABELS) for function in functions]


def rows():
    said = ["yes", "no", "", None, "maybe", "yes"]
    return pl.DataFrame({"row_id": [str(i) for i in range(6)], "text": TEXTS, "said": said})


def test_what_each_kind_votes():
    expected = [[1, -1, -1, 1], [-1, 0, -1, 0], [-1, -1, 0, -1], [1, -1, -1, -1], [-1, 0, -1, -1], [-1, -1, 0, 1]]
    assert label_matrix(declared(), rows(), LABELS).tolist() == expected


def test_snorkel_applies_declared_functions_to_the_same_votes():
    ours = label_matrix(declared(), rows(), LABELS)
    points = [SimpleNamespace(**row) for row in rows().iter_rows(named=True)]
    frame = pd.DataFrame(rows().to_dicts())
    assert np.array_equal(LFApplier(declared()).apply(points, progress_bar=False), ours)
    assert np.array_equal(PandasLFApplier(declared()).apply(frame, progress_bar=False), ours)


def test_a_label_the_app_does_not_have_names_the_line(tmp_path):
    (tmp_path / "functions.py").write_text(
        'from labeling.functions import keyword\n\nFUNCTIONS = [\n    keyword("a", "EGGS", ["x"]),\n]\n',
        encoding="utf-8",
    )
    with pytest.raises(
        FunctionError, match=r"functions\.py:4: function 'a': votes for 'EGGS'; expected one of .*HAM, SPAM"
    ):
        load_functions(tmp_path, LABELS)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("FUNCTIONS = [1]", r"FUNCTIONS\[0\] is 1; expected keyword"),
        ("x = 1", "expected a list FUNCTIONS of labeling functions, got None"),
        ("FUNCTIONS = [\n", r"functions\.py:\d: does not run: SyntaxError"),
        ("import math\nmath.nothing()", r"functions\.py:2: does not run: AttributeError"),
        (
            'from labeling.functions import keyword as k\nFUNCTIONS = [k("a", "HAM", ["x"]), k("a", "SPAM", ["y"])]',
            "two functions are called 'a'",
        ),
        (
            'from labeling.functions import regex\n\nFUNCTIONS = [regex("a", "HAM", "(x")]',
            r"functions\.py:3: function 'a': expected a regular expression",
        ),
        (
            'from labeling.functions import keyword\nFUNCTIONS = [keyword("a", "HAM", "word")]',
            r"functions\.py:2: function 'a': expected a list of words, none of them blank, got 'word'",
        ),
    ],
)
def test_a_functions_file_at_fault_is_named_with_its_line(tmp_path, code, expected):
    (tmp_path / "functions.py").write_text(code, encoding="utf-8")
    with pytest.raises(FunctionError, match=expected):
        load_functions(tmp_path, LABELS)


def test_no_functions_file(tmp_path):
    with pytest.raises(FunctionError, match="expected the app's labeling functions there"):
        load_functions(tmp_path, LABELS)


def test_line_of_function(tmp_path):
    path = tmp_path / "functions.py"
    path.write_text('# first\ndef coded(x):\n    ...\nregex("love", 1)\n', encoding="utf-8")
    assert (line_of_function(path, "coded"), line_of_function(path, "love"), line_of_function(path, "none")) == (
        2,
        4,
        1,
    )


def test_the_line_of_a_fault_by_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("apps/a")
    folder.mkdir(parents=True)
    (folder / "functions.py").write_text("a = 1\nb = 2\nc = 1 / 0\n", encoding="utf-8")
    with pytest.raises(FunctionError, match=r"apps/a/functions\.py:3: does not run: ZeroDivisionError"):
        load_functions(folder, LABELS)


def test_a_blank_word_is_refused():
    with pytest.raises(FunctionError, match="none of them blank"):
        keyword("check", "SPAM", ["check out", " "])
