"""The editing loop by its commands: what a data team does on a day."""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import CliRunner

from flows.command import cli
from flows.scaffold import create_app
from ledger.errors import PricecutError
from ledger.meter import Usage
from ledger.places import Places
from tests.flows.conftest import ROOT, Project, clone

APP = Path("labeling/apps/reviews")


class Here:
    """An app in a folder of its own, in this process."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, program: str, *arguments: str, check: bool = True) -> SimpleNamespace:
        if program == "git":
            return subprocess.run(["git", *arguments], cwd=self.root, check=check, capture_output=True, text=True)
        done = CliRunner().invoke(cli, arguments)
        told = isinstance(done.exception, PricecutError)
        if not told and not isinstance(done.exception, SystemExit | None):
            raise done.exception
        code = done.exception.exit_code if told else done.exit_code
        assert not check or code == 0, done.output + str(done.exception)
        return SimpleNamespace(
            returncode=code, stdout=done.stdout, stderr=done.stderr + (str(done.exception) if told else "")
        )


def run_stages(*wanted: str) -> None:
    """Run stages of the app `reviews` in this process."""
    from labeling import audit, collect, embed, fuse, label, vote

    for name, stage in (
        ("collect", collect),
        ("fuse", fuse),
        ("embed", embed),
        ("vote", vote),
        ("label", label),
        ("audit", audit),
    ):
        if name in wanted:
            sources = ["data/reviews/sources"] if name in ("collect", "fuse") else []
            stage.main(Places("reviews"), Usage(name), *sources)


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory):
    """The app that `pricecut new` makes, run up to `audit`, all committed."""
    root = tmp_path_factory.mktemp("editing")
    here = Here(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        shutil.copy(ROOT / "params.yaml", root)
        (root / "dvc.yaml").write_text("stages: {}\n")
        (root / ".gitignore").write_text("/data/\n/reports/\n")
        create_app("reviews")
        run_stages("collect", "fuse", "embed", "vote", "label", "audit")
        here.run("git", "init", "-q")
        here.run("git", "config", "user.email", "tests@pricecut.invalid")
        here.run("git", "config", "user.name", "tests")
        here.run("git", "commit", "-q", "--allow-empty", "-m", "nothing yet")
        here.run("git", "add", "-A")
        here.run("git", "commit", "-q", "-m", "an app")
        yield here


@pytest.fixture
def reviews(scaffolded):
    """The same, to edit: git puts the app's files back after the test."""
    yield scaffolded
    scaffolded.run("git", "checkout", "-q", "--", str(APP))


def edit(project, old, new):
    path = project.root / "labeling/apps/reviews/functions.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def as_json(project, *command):
    return json.loads(project.run("pricecut", *command, "--json").stdout)


def test_each_function_stands_with_its_interval(reviews: Here):
    (praise, *_) = as_json(reviews, "functions", "reviews", "--as-is")["functions"]
    low, high = praise["interval_gold"]
    assert low < praise["accuracy_gold"] <= high and praise["gold_votes"] > 0
    assert "95 %" in reviews.run("pricecut", "functions", "reviews", "--as-is").stdout


def test_one_function_with_its_mistakes_never_a_test_row(reviews: Here):
    test = set(pl.read_parquet(reviews.root / "data/reviews/test.parquet")["row_id"])
    for name in ("praise", "blame", "stars"):
        about = as_json(reviews, "functions", "reviews", name, "--as-is", "--mistakes", "1000")
        assert about["name"] == name and not test & {row["row_id"] for row in about["examples"]}
    done = reviews.run("pricecut", "functions", "reviews", "nobody", "--as-is", check=False)
    assert done.returncode == 2 and "no function 'nobody'" in done.stderr


def test_against_a_revision(reviews: Here):
    edit(reviews, '"love", "perfect"', '"perfect", "quick"')
    changes = as_json(reviews, "functions", "reviews", "--against", "HEAD", "--as-is")
    by_name = {change["name"]: change for change in changes["functions"]}
    assert by_name["praise"]["status"] == "changed" and by_name["blame"]["status"] == "same votes"
    assert by_name["praise"]["gained"] > 0 and by_name["praise"]["lost"] > 0
    shown = reviews.run("pricecut", "functions", "reviews", "--against", "HEAD", "--as-is").stdout
    assert "praise" in shown and "5 other functions vote as they did" in shown


def test_against_a_revision_with_the_tables_it_had(reviews: Here):
    table = reviews.root / APP / "knowledge/words.csv"
    table.write_text("term,label\nwaste,bad\n")
    edit(reviews, "    never_again,\n", "    never_again,\n    knowledge('words', 'words.csv'),\n")
    edit(reviews, "import column,", "import knowledge, column,")
    reviews.run("git", "add", "-A")
    reviews.run("git", "commit", "-q", "-m", "a table")
    try:
        table.write_text("term,label\nwaste,bad\ngreat,good\n")
        changes = as_json(reviews, "functions", "reviews", "words", "--against", "HEAD", "--as-is")["functions"]
    finally:
        reviews.run("git", "reset", "-q", "--hard", "HEAD~1")
    assert [(change["status"], change["lost"], change["flipped"]) for change in changes] == [("changed", 0, 0)]
    assert changes[0]["gained"] > 0 and changes[0]["votes_before"] > 0


def test_against_what_is_not_there(reviews: Here):
    done = reviews.run("pricecut", "functions", "reviews", "--against", "-x", "--as-is", check=False)
    assert done.returncode == 2 and "no revision '-x' in git" in done.stderr
    done = reviews.run("pricecut", "functions", "reviews", "--against", "HEAD~1", "--as-is", check=False)
    assert done.returncode == 2 and "functions.py does not stand at 'HEAD~1'" in done.stderr


def test_an_old_version_that_does_not_load_is_told_with_its_revision(reviews: Here):
    edit(reviews, "FUNCTIONS = [", "nonsense(\nFUNCTIONS = [")
    reviews.run("git", "commit", "-q", "-a", "-m", "broken")
    try:
        reviews.run("git", "checkout", "-q", "HEAD~1", "--", "labeling/apps/reviews")
        done = reviews.run("pricecut", "functions", "reviews", "--against", "HEAD", "--as-is", check=False)
    finally:
        reviews.run("git", "reset", "-q", "--hard", "HEAD~1")
    assert done.returncode == 2 and "HEAD:labeling/apps/reviews/functions.py:" in done.stderr


def test_uncovered_text_in_clusters(reviews: Here):
    found = as_json(reviews, "functions", "reviews", "--uncovered", "--clusters", "3", "--as-is")
    assert sum(cluster["size"] for cluster in found["clusters"]) == found["uncovered"]
    assert "train rows" in reviews.run("pricecut", "functions", "reviews", "--uncovered", "--as-is").stdout


def test_rows_go_out_and_come_back_as_gold(reviews: Here):
    reviews.run("pricecut", "review", "reviews", "--export", "out.csv", "--rows", "6", "--as-is")
    path = reviews.root / "out.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    assert len(rows) == 6 and not any(row["label"] for row in rows)
    done = reviews.run("pricecut", "review", "reviews", "--export", "out.csv", "--as-is", check=False)
    assert done.returncode == 2 and "stands already" in done.stderr

    for row in rows:
        row["label"] = "good"
    rows[0]["label"] = "splendid"
    lines = [";".join(rows[0]), *(";".join(f'"{value}"' for value in row.values()) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    gold = reviews.root / "labeling/apps/reviews/gold.csv"
    before = gold.read_bytes()
    taken = ("review", "reviews", "--import", "out.csv", "--by", "Zoë", "--as-is")
    done = reviews.run("pricecut", *taken, check=False)
    assert done.returncode == 2 and "out.csv:2: 'splendid' is no label of the app" in done.stderr
    assert "nothing was imported" in done.stderr and gold.read_bytes() == before
    assert as_json(reviews, *taken, "--partial")["added"] == 5
    assert as_json(reviews, *taken, "--partial")["nothing_new"] == 5
    assert gold.read_text(encoding="utf-8").count(",good,Zoë,20") == 5

    path.unlink()


def test_what_review_needs_is_told(reviews: Here):
    for options, told in (
        ([], "either --export FILE or --import FILE"),
        (["--export", "rows.xlsx"], "ends in .csv or .json"),
        (["--import", "rows.csv"], "say it with --by NAME"),
        (["--export", "no/such/rows.csv"], "no such folder"),
    ):
        done = reviews.run("pricecut", "review", "reviews", *options, check=False)
        assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_answers_become_gold_and_what_was_agreed_holds_until_it_is_agreed_anew(tmp_path):
    """The whole way, by DVC."""
    project: Project = clone(tmp_path)
    project.run("pricecut", "new", "reviews")
    project.parameters(vote={"gate_votes": 3})
    project.run("pricecut", "review", "reviews", "--export", "out.csv", "--rows", "5")
    path = project.root / "out.csv"
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    path.write_text("\n".join([lines[0], *(f"{line}good" for line in lines[1:])]), encoding="utf-8")
    project.run("pricecut", "review", "reviews", "--import", "out.csv", "--by", "Zoë")
    assert as_json(project, "functions", "reviews")["gold_reviewed"] == 5
    corpus = pl.read_parquet(project.root / "data/reviews/corpus.parquet")
    answered = corpus.filter(pl.col("row_id").is_in([row["row_id"] for row in csv.DictReader(lines)]))
    assert answered["split"].to_list() == ["gold"] * 5 and answered["label"].to_list() == [1] * 5

    project.run("pricecut", "agree", "reviews")
    edit(project, 'keyword("praise", "good"', 'keyword("praise", "bad"')
    done = project.run("pricecut", "functions", "reviews", check=False)
    assert done.returncode == 2 and "function 'praise': accuracy on gold was 1.0000" in done.stderr
    assert "`pricecut agree reviews --function praise`" in done.stderr
    shown = project.run("pricecut", "agree", "reviews", "--function", "praise").stdout
    assert "praise" in shown and "blame" not in shown
    project.run("pricecut", "functions", "reviews")


def test_agree_writes_what_is_measured_and_drops_what_is_gone(reviews: Here):
    assert set(as_json(reviews, "agree", "reviews", "--as-is")) <= {
        "praise",
        "blame",
        "lasted",
        "shouts",
        "stars",
        "never_again",
    }
    agreed = (reviews.root / APP / "agreed.yaml").read_text()
    assert "praise:" in agreed and "never_again:" in agreed
    edit(reviews, "    never_again,\n", "")
    only = as_json(reviews, "agree", "reviews", "--as-is", "--function", "praise", "--tolerance", "0.3")
    assert list(only) == ["praise"] and only["praise"]["accuracy"] == 0.7
    assert "never_again:" in (reviews.root / APP / "agreed.yaml").read_text()
    reviews.run("pricecut", "agree", "reviews", "--as-is")
    assert "never_again:" not in (reviews.root / APP / "agreed.yaml").read_text()
    done = reviews.run("pricecut", "agree", "reviews", "--as-is", "--function", "nobody", check=False)
    assert done.returncode == 2 and "no function 'nobody'" in done.stderr


def test_why_a_row_has_its_label(reviews: Here):
    row = pl.read_parquet(reviews.root / "data/reviews/corpus.parquet")["row_id"][0]
    assert as_json(reviews, "why", "reviews", row, "--as-is")["row_id"] == row
    assert "what each vote weighs" in reviews.run("pricecut", "why", "reviews", row, "--as-is").stdout
    done = reviews.run("pricecut", "why", "reviews", "nobody", "--as-is", check=False)
    assert done.returncode == 2 and "no row 'nobody'" in done.stderr


def test_a_failing_example_is_a_fault_and_a_dead_function_a_warning(reviews: Here):
    edit(
        reviews,
        "    never_again,\n",
        "    never_again,\n    keyword('dead', 'bad', ['zzz'], examples={'zzz!': 'bad'}),\n",
    )
    done = reviews.run("pricecut", "check", "reviews")
    assert "warning: labeling/apps/reviews/functions.py:" in done.stdout and "'dead' votes on none" in done.stdout
    edit(reviews, "{'zzz!': 'bad'}", "{'zzz!': None}")
    done = reviews.run("pricecut", "check", "reviews", check=False)
    assert done.returncode == 2 and "function 'dead': on 'zzz!' expected abstain, got 'bad'" in done.stdout


def test_without_gold_and_with_every_row_covered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = Here(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    Path("dvc.yaml").write_text("stages: {}\n")
    create_app("reviews")
    parameters = Path("params.yaml").read_text()
    Path("params.yaml").write_text(parameters.replace("gold: 0.10", "gold: 0.0"))
    edit(here, "    never_again,\n", "    never_again,\n    expression('all', 'good', pl.col('text').is_not_null()),\n")
    (here.root / APP / "gold.csv").write_text("")
    run_stages("collect", "fuse", "embed", "vote", "label", "audit")
    (praise, *_) = as_json(here, "functions", "reviews", "--as-is")["functions"]
    assert praise["interval_gold"] is None and praise["gold_votes"] == 0
    about = as_json(here, "functions", "reviews", "all", "--as-is")
    assert about["mistakes_by"] == "label model" and about["mistakes"] > 0 and len(about["examples"]) == 5
    beliefs = [row["belief"] for row in about["examples"]]
    assert beliefs == sorted(beliefs) and all(row["expected"] == "bad" for row in about["examples"])
    assert (
        "train rows where the label model thinks"
        in here.run("pricecut", "functions", "reviews", "all", "--as-is").stdout
    )
    assert as_json(here, "functions", "reviews", "--uncovered", "--as-is")["clusters"] == []
    assert "every one of the" in here.run("pricecut", "functions", "reviews", "--uncovered", "--as-is").stdout
    questions = as_json(here, "review", "reviews", "--export", "out.json", "--as-is")
    assert "uncovered" not in questions["reasons"] and (tmp_path / "out.labeling.xml").is_file()
    done = here.run("pricecut", "agree", "reviews", "--as-is", check=False)
    assert done.returncode == 2 and "no gold row, so nothing to agree on" in done.stderr
    done = here.run("pricecut", "functions", "reviews", "--against", "HEAD", "--as-is", check=False)
    assert done.returncode == 2 and ("no git repository" in done.stderr or "no revision" in done.stderr)
