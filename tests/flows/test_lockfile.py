from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.lockfile import HEAD, join, split, write_whole
from ledger.errors import DataError

LOCK = Path("dvc.lock")
PRINTED = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])
names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
entries = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {"cmd": st.text(PRINTED, max_size=60), "outs": st.lists(st.text(PRINTED, max_size=5), max_size=2)}
    ),
    max_size=6,
)


def dumped(document):
    from dvc.utils.serialize import dumps_yaml

    return dumps_yaml(document)


@settings(max_examples=60, deadline=None)
@given(entries, st.randoms())
def test_entries_are_put_in_order_and_nothing_else_changes(stages, random):
    text = dumped({"schema": "2.0", "stages": stages}) if stages else ""
    head, found, after = split(text, LOCK)
    assert list(found) == list(stages) and head == HEAD
    order = list(stages)
    random.shuffle(order)
    written = join(head, found, after, order)
    assert list((yaml.safe_load(written)["stages"] or {}).items()) == [(name, stages[name]) for name in order]
    assert join(*split(written, LOCK), list(stages)) == (text or HEAD)


def test_what_else_stands_in_the_file_stays():
    text = "schema: '2.0'\nstages:\n  a:\n    cmd: x\ndatasets:\n- name: d\n"
    head, found, after = split(text, LOCK)
    assert join(head, found | {"b": "  b:\n    cmd: y\n"}, after, ["b", "a"]) == (
        "schema: '2.0'\nstages:\n  b:\n    cmd: y\n  a:\n    cmd: x\ndatasets:\n- name: d\n"
    )


@pytest.mark.parametrize(
    "text", ["schema: '2.0'\nstages:\n  a:\n    cmd: 'x", "stages: [", "<<<<<<< HEAD\nschema: '2.0'\n", "just words\n"]
)
def test_half_a_lock_is_refused_and_left_as_it_is(text):
    with pytest.raises(DataError, match=r"dvc\.lock: cannot be read .*`git checkout dvc\.lock"):
        split(text, LOCK)


def test_a_reader_never_finds_half_a_file(tmp_path):
    path = tmp_path / "dvc.lock"
    write_whole(path, "one\n")
    write_whole(path, "two\n")
    assert path.read_text() == "two\n" and [p.name for p in tmp_path.iterdir()] == ["dvc.lock"]
