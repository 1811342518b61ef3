import sys

import pytest

from ledger.errors import DataError
from ledger.meter import carry_forward, read_usage
from ledger.places import Places
from ledger.stage import run_stage


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage", "small"])


def test_what_a_stage_used_is_journaled():
    def work(places, usage):
        usage.figures["rows"] = sum(range(100_000)) and 7

    run_stage("vote", work)
    usage = read_usage(Places("small").journal("vote"))
    assert usage.figures == {"rows": 7} and usage.wall_s > 0 and usage.cpu_s > 0 and usage.peak_rss_bytes > 1_000_000
    assert carry_forward(Places("small"), ("vote", "label"))["label"] is None


def test_a_message_for_its_reader_has_no_traceback(capsys):
    def work(places, usage):
        raise DataError("shop.csv:3: expected a text")

    with pytest.raises(SystemExit) as ended:
        run_stage("collect", work)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "collect small: shop.csv:3: expected a text\n"
    assert read_usage(Places("small").journal("collect")) is None


def test_a_defect_keeps_its_traceback():
    def work(places, usage):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage("collect", work)


def test_wrong_arguments_are_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        run_stage("collect", print, "SOURCES")
    assert ended.value.code == 2 and "expected the arguments APP SOURCES" in capsys.readouterr().err
