import pickle
import signal
import threading
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from snorkel.labeling import labeling_function
from snorkel.preprocess import Preprocessor, preprocessor

from labeling.functions import about, keyword, regex
from labeling.voting.apply import vote_all
from labeling.voting.rows import Rows, batches, vote_on_rows
from labeling.voting.workers import packed, vote_in_workers
from ledger.errors import FunctionError, PricecutError

LABELS = ("bad", "good")


def table(count=40):
    return pl.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(count)],
            "text": [f"text {i}" for i in range(count)],
            "n": list(range(count)),
            "tags": [["a", "b"] for _ in range(count)],
        }
    )


def votes(functions, rows, **said):
    return np.column_stack([voted.column for voted in vote_all(functions, rows, LABELS, **said)])


@labeling_function()
def counts(x):
    return x.n % 2 if x.n % 3 else None


@labeling_function()
def fails_on_sevens(x):
    if x.n % 7 == 3:
        raise ValueError(f"seven {x.n}")
    return "good" if x.n % 5 == 0 else -1


WRITES = {
    "an attribute": lambda x: setattr(x, "text", "changed"),
    "an item": lambda x: x.__setitem__("text", "changed"),
    "a new attribute": lambda x: setattr(x, "more", "changed"),
    "a list in it": lambda x: x.tags.append("changed"),
    "a list by item": lambda x: x["tags"].clear(),
    "its dictionary": lambda x: vars(x).update(text="changed"),
    "a list in its dictionary": lambda x: vars(x)["tags"].append("changed"),
    "a deletion": lambda x: delattr(x, "text"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_function_that_writes_to_its_row_changes_no_other_functions_vote(write):
    @labeling_function()
    def writes(x):
        write(x)
        return -1

    @labeling_function()
    def reads(x):
        whole = x.text.startswith("text") and x.tags == ["a", "b"] and not hasattr(x, "more")
        return 1 if whole and len(vars(x)) == 4 else 0

    assert votes([reads, writes, reads.__class__("again", reads._f)], table()).tolist() == [[1, -1, 1]] * 40


def test_a_function_sees_its_own_writes():
    @labeling_function()
    def writes(x):
        x.tags.append(x.text)
        x.text = "changed"
        return 1 if x.tags == ["a", "b", f"text {x.n}"] and x["text"] == "changed" else 0

    assert votes([writes], table())[:, 0].tolist() == [1] * 40


def test_memoized_preprocessors_run_once_a_row_for_all_functions():
    ran = []

    @preprocessor(memoize=True)
    def lower(x):
        ran.append(x.row_id)
        x.low = x.text.upper()
        return x

    @labeling_function(pre=[lower])
    def one(x):
        x.low = "spoilt"
        return 1

    @labeling_function(pre=[lower])
    def two(x):
        return 1 if x.low == x.text.upper() else 0

    assert votes([one, two], table()).tolist() == [[1, 1]] * 40
    assert ran == table()["row_id"].to_list()


def test_a_preprocessor_of_fields_works_as_spacys_does():
    class Words(Preprocessor):
        def __init__(self):
            super().__init__("words", {"text": "text"}, {"doc": "doc"}, memoize=True)

        def run(self, text):
            return {"doc": text.split()}

    @labeling_function(pre=[Words()])
    def has_two(x):
        return 1 if len(x.doc) == 2 else -1

    assert votes([has_two], table())[:, 0].tolist() == [1] * 40


def test_a_preprocessor_that_raises_counts_for_each_function():
    @preprocessor()
    def fails(x):
        raise KeyError("none")

    one = labeling_function(name="one", pre=[fails])(lambda _: 1)
    two = labeling_function(name="two", pre=[fails])(lambda _: 1)
    assert [v.errors for v in vote_all([one, two], table(), LABELS)] == [40, 40]


def test_a_row_may_be_pickled_and_copied():
    row = Rows(table()).rows[3]
    again = pickle.loads(pickle.dumps(row))
    assert (again.text, again.tags, again) == ("text 3", ["a", "b"], row)


def test_a_vote_outside_the_stated_labels_is_refused():
    @about(labels=["good"])
    @labeling_function()
    def one(x):
        return 0 if x.n == 5 else "good"

    expected = (
        r"function 'one' returned 0 on row 'r5'; expected 1 \(good\), the labels it states, a label's name, or -1"
    )
    with pytest.raises(FunctionError, match=expected):
        vote_all([one], table(), LABELS)


def test_the_first_row_at_fault_is_named_and_on_it_the_first_function():
    early = labeling_function(name="early")(lambda x: 7 if x.n == 30 else -1)
    late = labeling_function(name="late")(lambda x: 7 if x.n in (4, 30) else -1)
    with pytest.raises(FunctionError, match="'late' returned 7 on row 'r4'"):
        vote_on_rows([early, late], table(), LABELS, 1.0)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 5), st.integers(1, 7))
def test_batches_hold_every_row_once_in_order(heights, first, size):
    rows = pl.DataFrame({"i": list(range(sum(heights)))})
    for cut in (batches(rows, first, size), batches(rows.lazy(), first, size)):
        parts = list(cut)
        assert [i for part in parts for i in part["i"]] == rows["i"].to_list()
        assert all(part.height <= max(first, size) for part in parts)


def in_workers(monkeypatch):
    """Let worker processes start at once, with small batches, and leave all work to them."""
    monkeypatch.setattr(
        "labeling.voting.apply.vote_in_workers",
        lambda package, rows, count, _: vote_in_workers(package, rows, count, None),
    )
    monkeypatch.setattr("labeling.voting.apply.START_S", -1.0)
    monkeypatch.setattr("labeling.voting.apply.TRIED_ROWS", 50)
    monkeypatch.setattr("labeling.voting.apply.BATCH_ROWS", 64)


class Resource:
    """Writes down each process it comes to."""

    def __init__(self, path):
        self.path = path

    def __setstate__(self, state):
        import os

        self.__dict__.update(state)
        with Path(self.path).open("a") as file:
            file.write(f"{os.getpid()}\n")


def test_worker_processes_vote_as_one_process_does_and_get_resources_once(monkeypatch, tmp_path):
    resource = Resource(str(tmp_path / "arrivals"))

    def slow_at_first(x, words):
        sum(range(20000 if x.n < 200 else 10))
        return 1 if x.n % 11 == 0 and words.path else None

    known = labeling_function(name="known", resources={"words": resource})(slow_at_first)
    pattern = regex("look", "bad", r"(?<=text )1\d*$")
    functions = [counts, known, fails_on_sevens, pattern]
    serial = vote_all(functions, table(700), LABELS, processes=1)
    assert not (tmp_path / "arrivals").exists()
    in_workers(monkeypatch)
    parallel = vote_all(functions, table(700).lazy(), LABELS, processes=2)
    for one, other in zip(serial, parallel, strict=True):
        assert np.array_equal(one.column, other.column)
        assert (one.errors, one.first_error) == (other.errors, other.first_error)
    assert parallel[2].first_error == "row 'r3': ValueError: seven 3"
    processes = (tmp_path / "arrivals").read_text().splitlines()
    assert 1 <= len(processes) == len(set(processes)) <= 2


def test_a_fault_in_a_worker_is_the_first_in_row_order(monkeypatch):
    def wrong(x):
        sum(range(100000 if x.n == 130 else 10))
        return 7 if x.n in (130, 600) else -1

    in_workers(monkeypatch)
    with pytest.raises(FunctionError, match="returned 7 on row 'r130'") as caught:
        vote_all([labeling_function(name="wrong")(wrong)], table(700), LABELS, processes=2)
    assert caught.value.function == "wrong"


def test_a_worker_that_is_killed_is_told_in_a_sentence(monkeypatch):
    def dies(x):
        import os

        if x.n == 300:
            os.kill(os.getpid(), signal.SIGKILL)
        return -1

    in_workers(monkeypatch)
    with pytest.raises(PricecutError, match=r"a worker process that ran row functions was killed \(SIGKILL\)"):
        vote_all([labeling_function(name="dies")(dies)], table(700), LABELS, processes=2)


def test_an_interruption_leaves_no_worker_behind():
    before = set(psutil.Process().children(recursive=True))
    parts = vote_in_workers(packed([counts], LABELS, 1.0), batches(table(700), 50, 50), 2, None)
    next(parts)
    started = set(psutil.Process().children(recursive=True)) - before
    assert len(started) == 3  # two workers, and the process they are forks of
    with pytest.raises(KeyboardInterrupt):
        parts.throw(KeyboardInterrupt)
    assert psutil.wait_procs(started, timeout=5)[1] == []


def test_what_cannot_be_sent_to_workers_runs_in_one_process(monkeypatch, caplog):
    lock = threading.Lock()

    def holds(x):
        with lock:
            return 1

    in_workers(monkeypatch)
    caplog.set_level("INFO")
    assert votes([labeling_function(name="holds")(holds)], table(120), processes=2)[:, 0].tolist() == [1] * 120
    assert "row functions run in this process alone" in caplog.text


def test_this_process_works_until_a_worker_has_started():
    here = []

    def meanwhile(batch):
        here.append(batch.height)
        return vote_on_rows([counts], batch, LABELS, 1.0)

    rows = table(30_000)
    package = packed([counts], LABELS, 1.0)
    parts = list(vote_in_workers(package, batches(rows, 20, 20), 2, meanwhile))
    assert np.array_equal(np.concatenate([part[0].column for part in parts]), votes([counts], rows, processes=1)[:, 0])
    assert here


def test_a_small_table_starts_no_process(monkeypatch):
    def refuse(*_):
        raise AssertionError("started")

    monkeypatch.setattr("labeling.voting.apply.vote_in_workers", refuse)
    assert votes([counts], table(2000), processes=2).shape == (2000, 1)


def test_a_pattern_that_rusts_engine_lacks_is_matched_with_a_warning(caplog):
    functions = [regex("twice", "good", r"\b(\w+) \1\b"), regex("no", "bad", r"text (?!1)")]
    assert caplog.text.count("function 'twice'") == 1 and "backreferences" in caplog.text
    rows = pl.DataFrame({"row_id": ["a", "b", "c"], "text": ["Very very good", "text 2", None]})
    assert votes(functions, rows).tolist() == [[1, -1], [-1, 0], [-1, -1]]
    assert [function.bind(LABELS)(Rows(rows).rows[0]) for function in functions] == [1, -1]


def test_a_row_on_which_a_pattern_takes_too_long_abstains_and_is_counted():
    pattern = regex("nested", "good", r"(a+)+\1$")
    rows = pl.DataFrame({"row_id": ["a", "b", "c"], "text": ["aaaa", "a" * 20000 + "!", "aa"]})
    voted = vote_all([pattern, keyword("k", "bad", ["aa"])], rows, LABELS, row_seconds=0.05)
    assert [v.column.tolist() for v in voted] == [[1, -1, 1], [-1, -1, 0]]
    assert voted[0].errors == 1
    assert voted[0].first_error == "row 'b': TimeoutError: took longer than vote.row_seconds (0.05 s)"


def test_a_pattern_that_takes_too_long_on_many_rows_is_given_up():
    rows = pl.DataFrame({"row_id": [str(i) for i in range(1000)], "text": ["a" * 20000 + "!"] * 1000})
    with pytest.raises(
        FunctionError, match=r"function 'p': its pattern took longer .* on 20 of 20 rows; write it without"
    ) as caught:
        vote_all([regex("p", "good", r"(a+)+\1$")], rows, LABELS, row_seconds=0.01)
    assert caught.value.function == "p"


def test_a_column_that_a_backtracking_pattern_lacks_is_named():
    with pytest.raises(FunctionError, match="function 'p': reads the column 'subject'"):
        vote_all([regex("p", "good", r"(a)\1", field="subject")], table(), LABELS)
