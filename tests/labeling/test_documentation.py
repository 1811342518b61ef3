"""docs/labeling_functions.md: every block of Python is a functions.py that runs, and its examples hold."""

import re

import polars as pl
import pytest

from labeling.functions import examples_of, load_functions, owner_of
from labeling.vote import label_matrix
from tests.labeling.conftest import ROOT
from tests.labeling.test_llm import server  # noqa: F401

LABELS = ("billing", "delivery", "returns")
PAGE = (ROOT / "docs/labeling_functions.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TABLES = dict(re.findall(r"```csv (\S+)\n(.*?)```", PAGE, re.DOTALL))
KINDS = {"about", "keyword", "regex", "expression", "column", "knowledge", "implies", "nearest", "llm"}


def test_every_kind_has_a_block():
    assert all(any(re.search(rf"\b{kind}\(", block) for block in BLOCKS) for kind in KINDS)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs_and_its_examples_hold(number, tmp_path, server):  # noqa: F811
    for file, table in TABLES.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(table)
    (tmp_path / "functions.py").write_text(BLOCKS[number].replace("http://127.0.0.1:11434/v1", server.url))
    functions = load_functions(tmp_path, LABELS)
    shown = 0
    for function in functions:
        examples = examples_of(function)
        rows = pl.DataFrame([{"row_id": str(n)} | row for n, (row, _) in enumerate(examples)], infer_schema_length=None)
        reads = set(getattr(function, "reads_votes", ()))
        used = [other for other in functions if other is function or other.name in reads]
        if examples:
            expected = [-1 if label is None else LABELS.index(label) for _, label in examples]
            assert label_matrix(used, rows, LABELS)[:, -1].tolist() == expected, function.name
            shown += 1
    assert shown


def test_the_files_owner_answers_for_what_names_none(tmp_path):
    (tmp_path / "functions.py").write_text(BLOCKS[0].replace('        owner="ana",  # who answers for it\n', ""))
    assert [owner_of(function) for function in load_functions(tmp_path, LABELS)] == ["support team"]
