"""What a user meets when something is wrong: one message, no traceback, exit code 2."""

import json

import polars as pl
import pytest

from tests.flows.conftest import Project, clone

FAULTS = {
    "a missing source": (
        lambda app: (app / "sources/reviews.csv").unlink(),
        ("data/reviews/sources/reviews.csv", "not found", "app.yaml"),
    ),
    "an unknown column": (
        lambda app: rewrite(app / "app.yaml", "text: review", "text: message"),
        ("no column 'message'", "the file has: number, review"),
    ),
    "an empty file": (lambda app: (app / "sources/reviews.csv").write_text(""), ("reviews.csv", "is empty")),
    "a wrong encoding": (
        lambda app: (app / "sources/reviews.csv").write_bytes(
            "number,review,stars,checked\n1,café,5,good\n".encode("latin-1")
        ),
        ("reviews.csv:2: not utf-8", "state its 'encoding'"),
    ),
    "a corpus with one class": (
        lambda app: rewrite(app / "sources/reviews.csv", ",bad\n", ",good\n"),
        ("every known label is 'good'", "add labeled messages of another class"),
    ),
    "a function that raises": (
        lambda app: rewrite(app / "functions.py", '"never again" in', "1 / 0 in"),
        ("functions.py:", "function 'never_again' raised on", "ZeroDivisionError", "vote.error_share"),
    ),
    "a function that returns a wrong value": (
        lambda app: rewrite(app / "functions.py", 'return "bad" if', 'return "awful" if True or'),
        ("functions.py:", "function 'never_again' returned 'awful' on row", "expected 0 (bad), 1 (good)"),
    ),
    "an unknown key": (
        lambda app: rewrite(app / "app.yaml", "labels:", "lables:"),
        ("app.yaml:2: lables: unknown key", "missing key"),
    ),
}


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


class Folder:
    """An app's two folders under one name."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def __truediv__(self, name: str):
        if name.startswith("sources"):
            return self.project.root / "data/reviews" / name
        return self.project.root / "labeling/apps/reviews" / name


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory):
    """A clone with the app that `pricecut new` makes, run up to `label`."""
    project = clone(tmp_path_factory.mktemp("reviews"))
    project.run("pricecut", "new", "reviews")
    project.run("pricecut", "functions", "reviews")
    return project


@pytest.fixture
def reviews(scaffolded):
    """The same, to spoil: its files are put back after the test."""
    folder = Folder(scaffolded)
    kept = {
        path: path.read_bytes() for path in map(folder.__truediv__, ("app.yaml", "functions.py", "sources/reviews.csv"))
    }
    yield scaffolded
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_message_and_exit_code_2(reviews: Project, fault: str):
    spoil, expected = FAULTS[fault]
    spoil(Folder(reviews))
    done = reviews.run("pricecut", "functions", "reviews", check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in expected:
        assert part in done.stderr


def test_plain_dvc_says_it_too(reviews: Project):
    FAULTS["a function that returns a wrong value"][0](Folder(reviews))
    done = reviews.run("dvc", "repro", "vote@reviews", check=False)
    assert done.returncode != 0 and "exited with 2" in done.stderr
    assert "function 'never_again' returned 'awful'" in done.stderr and "Traceback" not in done.stderr


def test_rows_that_cannot_be_used_are_set_aside_with_reasons(reviews: Project):
    with (Folder(reviews) / "sources/reviews.csv").open("a") as rows:
        rows.write("901,,4,good\n902,fine,4,splendid\n")
    reviews.run("pricecut", "functions", "reviews")
    rejected = pl.read_parquet(reviews.root / "data/reviews/rejected.parquet")
    assert rejected["id"].to_list() == ["901", "902"] and rejected["row"].to_list() == [241, 242]
    assert "no text" in rejected["reason"][0] and "label 'splendid' is not one of bad, good" in rejected["reason"][1]
    counted = json.loads((reviews.root / "reports/reviews/collect.json").read_text())["sources"]["reviews"]
    assert (counted["rejected"], counted["rows"]) == (2, 242)


def test_by_prefect_too(reviews: Project):
    """From the stage's message, through DVC and the flow's state, to the command's exit code."""
    FAULTS["a function that returns a wrong value"][0](Folder(reviews))
    done = reviews.run("pricecut", "run", "reviews", check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    said = [
        line
        for line in done.stderr.splitlines()
        if line.startswith("vote reviews: labeling/apps/reviews/functions.py:")
    ]
    assert said and "returned 'awful'" in said[-1]


def test_a_bad_pool_by_prefect(reviews: Project):
    path = reviews.root / "params.yaml"
    kept = path.read_text()
    path.write_text(kept.replace("  cpu: 2", "  cpu: 0"))
    done = reviews.run("pricecut", "run", "reviews", check=False)
    path.write_text(kept)
    assert done.returncode == 2 and "params.yaml:" in done.stderr and "pools.cpu" in done.stderr
    assert "Traceback" not in done.stderr
