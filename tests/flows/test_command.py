import json

import pytest
from typer.testing import CliRunner

from flows.command import cli
from flows.commands.predict import batches, field_of
from ledger.errors import DataError
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


def test_lines_become_batches():
    lines = iter(["a\n", "\n", "b\r\n", "c"])
    assert list(batches(lines, None, size=2)) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("line", ["not json", "[1]", '{"other": "x"}', '{"said": 3}'])
def test_a_line_without_the_field(line):
    with pytest.raises(DataError, match="line 7: expected"):
        field_of(line, "said", 7)
