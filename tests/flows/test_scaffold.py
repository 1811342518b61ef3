import csv
import io

import pytest
import yaml

from flows.scaffold import create_app, invented_rows, with_app
from labeling.app import read_app
from labeling.check import find_faults
from ledger.errors import ConfigurationError
from ledger.places import Places

PARAMETERS = "vote: {error_share: 0.05, gate_votes: 10, row_seconds: 1.0, cache_mb: 0}\n# the apps\napps:\n  first:   # ours\n    sources: data/first\n\nfuse:\n  seed: 1  # draws\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMETERS)
    (tmp_path / "dvc.yaml").write_text("stages: {}  # ours\n")
    return tmp_path


def test_a_new_app_has_no_fault(root):
    written = create_app("reviews")
    assert all(path.is_file() for path in written)
    assert find_faults(Places("reviews"), root / "data/reviews/sources") == []
    assert "invented" in read_app(Places("reviews")).generated


def test_the_rest_of_the_parameters_stays_as_it_was(root):
    create_app("reviews")
    text = (root / "params.yaml").read_text()
    assert [line for line in PARAMETERS.splitlines() if line not in text.splitlines()] == []
    assert list(yaml.safe_load(text)["apps"]) == ["reviews", "first"]


@pytest.mark.parametrize("name", ["Reviews", "1st", "re-views", "../x", "re views", ""])
def test_a_name_that_cannot_be_one(root, name):
    with pytest.raises(ConfigurationError, match="expected an app's name"):
        create_app(name)


def test_nothing_is_overwritten(root):
    create_app("reviews")
    before = (root / "params.yaml").read_text()
    with pytest.raises(ConfigurationError, match="stands already"):
        create_app("reviews")
    with pytest.raises(ConfigurationError, match=r"params\.yaml:\d: app 'first' is listed already"):
        with_app(root / "params.yaml", "first", root)
    assert (root / "params.yaml").read_text() == before


def test_parameters_without_apps(root):
    (root / "params.yaml").write_text("apps: {}\n")
    with pytest.raises(ConfigurationError, match="expected a section 'apps:'"):
        create_app("reviews")


def test_the_rows_say_both_labels_and_leave_some_open():
    labels = [row["checked"] for row in csv.DictReader(io.StringIO(invented_rows()))]
    assert set(labels) == {"good", "bad", ""} and 80 < labels.count("") < 160


def test_a_new_app_is_in_the_model_registry(root):
    for name in ("reviews", "letters"):
        create_app(name)
    text = (root / "dvc.yaml").read_text()
    assert text.startswith("stages: {}  # ours\n")
    assert yaml.safe_load(text)["artifacts"] == {
        name: {"path": f"models/{name}/published", "type": "model"} for name in ("letters", "reviews")
    }
