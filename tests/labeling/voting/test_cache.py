import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from snorkel.labeling import labeling_function

from labeling.functions import ABSTAIN, BatchFunction, implies, keyword, load_functions, regex
from labeling.voting.apply import vote_all
from labeling.voting.cache import VoteCache
from labeling.voting.votes import Votes

logger = logging.getLogger(__name__)
LABELS = ("bad", "good")
ROWS = pl.DataFrame({"row_id": ["a", "b", "c"], "text": ["Great", "late", "so so"]})
KEY, OTHER = "0" * 64, "1" * 64


@pytest.fixture
def cache(tmp_path):
    return VoteCache(tmp_path / "votes", 1_000_000)


def some(*numbers):
    return Votes(np.array(numbers, dtype=np.int8), 1, "row 'ä': KeyError: 'x'")


def test_what_was_put_is_got(cache):
    cache.put(KEY, some(0, -1, 1))
    got = cache.get(KEY, 3)
    assert (got.column.tolist(), got.column.dtype, got.errors, got.first_error) == (
        [0, -1, 1],
        np.int8,
        1,
        "row 'ä': KeyError: 'x'",
    )
    assert cache.get(KEY, 4) is None and cache.get(OTHER, 3) is None


@pytest.mark.parametrize("damage", [b"", b"nothing", None])
def test_a_damaged_entry_is_no_entry_and_is_written_again(cache, damage, caplog):
    cache.put(KEY, some(0, -1, 1))
    (path,) = cache.folder.glob("*/*.votes")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    assert cache.get(KEY, 3) is None and "damaged" in caplog.text
    cache.put(KEY, some(0, -1, 1))
    assert path.read_bytes() == whole


def test_the_longest_unused_are_dropped(cache):
    votes = Votes(np.random.default_rng(0).integers(-1, 9, 50_000).astype(np.int8))  # deflated, the same size for all
    for number in range(6):
        cache.put(str(number) * 64, votes)
        (path,) = cache.folder.glob(f"{number}{number}/*")
        os.utime(path, (number, number))
    cache.get("0" * 64, 50_000)
    VoteCache(cache.folder, 3 * path.stat().st_size).prune()
    assert {p.parent.name for p in cache.folder.glob("*/*")} == {"00", "44", "55"}


def test_what_a_killed_stage_left_half_written_is_removed_later(cache):
    cache.put(KEY, some(1))
    (path,) = cache.folder.glob("*/*.votes")
    old, new = path.with_suffix(".votes.1.1.part"), path.with_suffix(".votes.2.2.part")
    old.touch(), new.touch()
    os.utime(old, (time.time() - 9999,) * 2)
    cache.prune()
    assert not old.exists() and new.exists() and path.exists()


def test_a_folder_that_cannot_be_written_to_is_no_fault(tmp_path, caplog):
    (tmp_path / "votes").write_text("a file")
    VoteCache(tmp_path / "votes", 9).put(KEY, some(1))
    assert "votes are not kept" in caplog.text


def test_two_stages_at_once_are_safe(cache):
    def work(seed):
        for number in range(40):
            key = f"{number % 10}" * 64
            expected = np.full(1000, number % 10, dtype=np.int8)
            got = cache.get(key, 1000)
            assert got is None or np.array_equal(got.column, expected)
            cache.put(key, Votes(expected))
            if number % 7 == seed:
                VoteCache(cache.folder, 2000).prune()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert not list(cache.folder.glob("*/*.part"))


class Batch(BatchFunction):
    def vote_on(self, rows):
        logger.info("voted on %s", rows.columns)
        return np.full(rows.height, ABSTAIN, dtype=np.int8)


def columns(functions, cache, rows=ROWS):
    return [voted.column.tolist() for voted in vote_all(functions, rows, LABELS, cache=cache)]


def test_editing_one_of_fifty_votes_one_anew(tmp_path, cache, caplog):
    body = "from snorkel.labeling import labeling_function\nfrom labeling.functions import keyword\nFUNCTIONS = []\n"
    for number in range(25):
        body += f"FUNCTIONS.append(keyword('k{number}', 'bad', ['late', 'w{number}']))\n"
        body += f"@labeling_function()\ndef r{number}(x):\n    return 1 if len(x.text) > {number % 7} else -1\nFUNCTIONS.append(r{number})\n"
    caplog.set_level("INFO")

    def run(code, folder):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "functions.py").write_text(code)
        caplog.clear()
        voted = columns(load_functions(tmp_path / folder, LABELS), cache)
        return voted, caplog.text

    first, said = run(body, "a")
    assert "50 of 50 functions voted; 0 were" in said
    assert "0 of 50 functions voted; 50 were" in run(body, "renamed")[1]
    edited, said = run(body.replace("w3'", "so'"), "a")
    assert "1 of 50 functions voted; 49 were" in said
    assert [i for i in range(50) if first[i] != edited[i]] == [6] and edited[6] == [-1, 0, 0]
    assert edited == columns(load_functions(tmp_path / "a", LABELS), None)


def test_batch_functions_are_cached_by_the_columns_they_read(cache, caplog):
    caplog.set_level("INFO", logger.name)
    for rows in (ROWS, ROWS.with_columns(row_id=pl.Series(["x", "y", "z"])), ROWS.with_columns(text=pl.lit("new"))):
        columns([Batch("batch", "embedding", ("good",), ("text",), "batch")], cache, rows)
    assert caplog.text.count("voted on ['text']") == 2


def test_rules_follow_the_votes_they_read(cache):
    def functions(word):
        return [keyword("k", "bad", [word]), implies("rule", {"k": "bad"}, "good")]

    assert columns(functions("late"), cache) == [[-1, 0, -1], [-1, 1, -1]]
    assert columns(functions("so"), cache) == [[-1, -1, 0], [-1, -1, 1]]


def test_errors_are_kept_with_the_votes(cache):
    @labeling_function()
    def fails(x):
        return 1 // (len(x.text) - 4)

    runs = [vote_all([fails], ROWS, LABELS, cache=cache)[0] for _ in range(2)]
    assert [(v.errors, v.first_error) for v in runs] == [
        (1, "row 'b': ZeroDivisionError: integer division or modulo by zero")
    ] * 2


def test_votes_of_a_pattern_that_ran_out_of_time_are_not_kept(cache):
    pattern = regex("nested", "good", r"(a+)+\1$")
    rows = ROWS.with_columns(text=pl.Series(["a" * 20000 + "!", "aa", "b"]))
    for _ in range(2):
        voted = vote_all([pattern], rows, LABELS, row_seconds=0.05, cache=cache)[0]
        assert (voted.errors, voted.column.tolist()) == (1, [-1, 1, -1])
    assert not list(cache.folder.glob("*/*"))
