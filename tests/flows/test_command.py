import csv
import json

import pytest
from typer.testing import CliRunner

from flows.command import cli
from flows.commands.predict import answer, batches, read_rows, text_and_row, writer
from ledger.errors import ConfigurationError, DataError
from tests.flows.conftest import Project


def test_help_teaches():
    shown = CliRunner().invoke(cli, ["--help"]).output
    for command in ("apps", "new", "check", "run", "functions", "why", "review", "agree", "predict", "report"):
        assert command in shown
    assert "Exit codes" in shown and "pricecut new reviews" in shown
    assert "--install-completion" in shown


def test_outside_a_project(project: Project, tmp_path):
    done = Project(tmp_path, project.home).run("pricecut", "apps", check=False)
    assert done.returncode == 2 and "not inside a pricecut project" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_app(project: Project):
    for command in ("run", "report", "functions", "predict", "check"):
        done = project.run("pricecut", command, "nobody", check=False)
        assert done.returncode == 2 and "nobody" in done.stderr + done.stdout and "Traceback" not in done.stderr, (
            command
        )


def test_an_app_that_has_not_run(project: Project):
    done = project.run("pricecut", "report", "customer_service", check=False)
    assert done.returncode == 2 and "metrics.json: not found; run the pipeline first" in done.stderr
    done = project.run("pricecut", "predict", "customer_service", text="x\n", check=False)
    assert (
        done.returncode == 2 and "no model there; run the pipeline first (pricecut run customer_service" in done.stderr
    )


def test_check_brings_generated_sources_and_finds_faults(project: Project):
    assert "in order" in project.run("pricecut", "check", "customer_service").stdout
    path = project.root / "labeling/apps/customer_service/functions.py"
    path.write_text(path.read_text() + "\nnonsense(\n")
    done = project.run("pricecut", "check", "customer_service", "--json", check=False)
    assert done.returncode == 2
    assert "functions.py:" in json.loads(done.stdout)["faults"][0]


def test_it_works_from_a_folder_below(project: Project):
    below = Project(project.root / "labeling", project.home)
    assert json.loads(below.run("pricecut", "apps", "--json").stdout)[0]["app"] == "customer_service"


def test_completion_offers_apps(project: Project, monkeypatch):
    from flows.shell import complete_app

    monkeypatch.chdir(project.root)
    assert complete_app("you") == ["youtube_spam", "youtube_wrench"]


def test_lines_become_batches(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"a\n\nb\r\nc")
    found = batches(read_rows("x.txt", tmp_path, None), size=2)
    assert [[text for text, _ in batch] for batch in found] == [["a", "b"], ["c"]]


def test_a_table_in_and_a_table_out(tmp_path):
    (tmp_path / "in.csv").write_text('id,said\n1,"hello,\nyou"\n2,bye\n', encoding="utf-8")
    rows = list(read_rows("in.csv", tmp_path, "said"))
    assert rows == [("hello,\nyou", {"id": "1", "said": "hello,\nyou"}), ("bye", {"id": "2", "said": "bye"})]
    answers = [answer([0.9, 0.1], ("ham", "spam"), 0.8), answer([0.3, 0.7], ("ham", "spam"), 0.8)]
    with writer("out.csv", tmp_path) as write:
        write([(text, row, found) for (text, row), found in zip(rows, answers, strict=True)])
        assert not (tmp_path / "out.csv").exists()  # not before it is whole
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [list(row) for row in csv.reader(file)] == [
            ["id", "said", "label", "confidence", "unsure"],
            ["1", "hello,\nyou", "ham", "0.9", "False"],
            ["2", "bye", "spam", "0.7", "True"],
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_tables_that_cannot_be_read_or_written(tmp_path):
    (tmp_path / "in.csv").write_text("id,said\n1,a,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"in.csv: expected a column 'text', got id, said"):
        list(read_rows("in.csv", tmp_path, None))
    with pytest.raises(DataError, match=r"in.csv:2: expected 2 cells"):
        list(read_rows("in.csv", tmp_path, "said"))
    with pytest.raises(ConfigurationError, match=r"ends in .csv or .jsonl"):
        writer("out.xls", tmp_path)
    with pytest.raises(DataError, match="cannot be written"), writer("nowhere/out.csv", tmp_path):
        pass


@pytest.mark.parametrize("line", ["not json", "[1]", '{"other": "x"}', '{"said": 3}'])
def test_a_line_without_the_field(line):
    with pytest.raises(DataError, match="line 7: expected"):
        text_and_row(line, "said", 7)
