import re
import subprocess
import sys
import textwrap

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labeling.functions import ABSTAIN, column, expression, keyword, knowledge, regex
from labeling.functions.declared import _folded
from labeling.voting.apply import vote_all

LABELS = ("bad", "good")
WORDS = ["check out", "free", "kiss", "ok", "c#", "task", "Straße", "vat"]
SIGNS = st.sampled_from(
    [
        *"skKSSſ\u212aiİıµßΣσς é#-_$.,;\n\t\u00a0",
        "check",
        "out",
        "OUT",
        "free",
        "Kiss",
        "ok",
        "vat",
        "Task",
        "straße",
        "STRASSE",
    ]
)


def test_in_the_folded_text_each_sign_matches_ascii_as_in_any_case():
    every = pl.DataFrame({"text": [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]})
    table = every.with_columns(folded=_folded(pl.col("text")))
    for letter in "abcdefghijklmnopqrstuvwxyz0#-":
        case = pl.col("text").str.contains(f"(?i)^{letter}$")
        assert table.select((case == (pl.col("folded") == letter)).all()).item(), letter
    words = pl.col("folded").str.contains(r"^\w+$") == pl.col("text").str.contains(r"^\w$")
    spaces = pl.col("folded").str.contains(r"^\s$") == pl.col("text").str.contains(r"^\s$")
    assert table.select(words.all().alias("words"), spaces.all().alias("spaces")).row(0) == (True, True)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(SIGNS, max_size=8).map("".join) | st.none(), min_size=1, max_size=8),
    st.lists(st.sampled_from(WORDS), min_size=1),
)
@example(["\u212ai\u017f\u017f", "o\u212a", "ta\u017fk", "$ok", "c#d"], ["kiss", "ok", "task", "c#"])
def test_the_fast_way_to_find_keywords_finds_what_the_plain_pattern_finds(texts, words):
    rows = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    phrases = "|".join(r"\s+".join(re.escape(part) for part in word.split()) for word in words)
    plain = rows["text"].str.contains(rf"(?i)(?:^|\W)(?:{phrases})(?:\W|$)").fill_null(False)
    function = keyword("k", "good", words).bind(LABELS)
    fast = rows.lazy().select(function.numbered().alias("v")).collect(engine="streaming")["v"]
    assert fast.to_list() == [1 if found else ABSTAIN for found in plain]
    assert rows.select(function.expression.is_not_null().alias("v"))["v"].to_list() == plain.to_list()


def test_every_kind_votes_as_its_expression_says():
    functions = [
        keyword("k", "good", ["great", "$"]),
        regex("r", "bad", r"\blate\b"),
        expression("e", "bad", pl.col("n") > 1),
        expression("always", "good", pl.lit(True)),
        column("c", "said", {"yes": "good", "no": "bad"}),
        knowledge("w", {"great": "good", "late": "bad"}),
    ]
    texts, said = ["GREAT $", "late", "great but late", None], ["yes", None, "maybe", "no"]
    rows = pl.DataFrame({"text": texts, "n": [1, 2, None, 3], "said": said})
    voted = np.column_stack([v.column for v in vote_all(functions, rows.lazy(), LABELS)])
    assert voted.tolist() == [
        [1, -1, -1, 1, 1, 1],
        [-1, 0, 0, 1, -1, 0],
        [1, 0, -1, 1, -1, -1],
        [-1, -1, 0, 1, 0, -1],
    ]
    assert voted.dtype == np.int8


def test_an_empty_table_has_no_votes():
    rows = pl.DataFrame({"row_id": [], "text": []}, schema={"row_id": pl.String, "text": pl.String})
    for table in (rows, rows.lazy()):
        assert vote_all([keyword("k", "good", ["a"]), regex("r", "bad", r"(a)\1")], table, LABELS)[1].column.shape == (
            0,
        )


@pytest.mark.slow
def test_a_corpus_larger_than_memory_is_voted_on(tmp_path):
    """A child with a corpus of 1.2 GB of text stays 500 MB above what it needs for a tenth of it."""
    peaks = {}
    for millions in (0.2, 2):
        path = tmp_path / f"{millions}.parquet"
        count = int(millions * 1_000_000)
        rows = pl.select(pl.int_range(count).alias("i")).lazy().with_columns(row_id=pl.col("i").cast(pl.String))
        text = pl.format("{} is great and late, {}", pl.col("i").hash(1), pl.lit("so it goes on and on " * 28))
        rows.with_columns(text=text).sink_parquet(path, row_group_size=20_000)
        code = f"""
            import polars as pl, resource
            from labeling.functions import keyword, regex
            from labeling.voting.apply import vote_all
            functions = [keyword("k", "good", ["great"]), regex("r", "bad", "1.*late"), keyword("no", "bad", ["none"])]
            voted = vote_all(functions, pl.scan_parquet({str(path)!r}), ("bad", "good"))
            assert int((voted[0].column == 1).sum()) == {count}
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        """
        peaks[millions] = int(subprocess.check_output([sys.executable, "-c", textwrap.dedent(code)]))
    assert peaks[2] - peaks[0.2] < 500, peaks
