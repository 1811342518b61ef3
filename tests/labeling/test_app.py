import pytest

from labeling.app import read_app
from ledger.errors import ConfigurationError
from ledger.places import Places
from tests.labeling.conftest import write_app

SHOP = {"file": "shop.csv", "columns": {"text": "said"}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"colour": "red"}, r"app\.yaml:\d+: colour: unknown key"),
        ({"labels": ["one"]}, r"app\.yaml:2: labels: .*at least 2"),
        ({"labels": ["one", "one"]}, "expected labels that differ"),
        ({"sources": {"shop": {"file": "a.csv", "columns": {"id": "no"}}}}, r"sources\.shop: .*expected 'text:"),
        ({"sources": {"shop": SHOP | {"reliability": 2}}}, r"app\.yaml:\d+: sources\.shop\.reliability: .*got 2"),
        ({"sources": {"shop": SHOP | {"formt": "csv"}}}, r"app\.yaml:\d+: sources\.shop\.formt: unknown key"),
        ({"sources": {"shop": SHOP | {"columns": {"text": "said", "split": "x"}}}}, "does not use itself, got 'split'"),
        (
            {"sources": {"shop": SHOP | {"columns": {"text": "said", "row_id": "x"}}}},
            "does not use itself, got 'row_id'",
        ),
        ({"merge": False}, "'merge: false' is for rows whose splits are published"),
        ({"split": {"published": {"test": "t.json"}}, "sources": {"shop": SHOP | {"split": "train"}}}, "got both"),
    ],
)
def test_each_fault_names_file_line_and_key(small_app, changes, expected):
    write_app(small_app, changes)
    with pytest.raises(ConfigurationError, match=expected):
        read_app(small_app)


def test_broken_yaml_names_the_line(small_app):
    (small_app.app_folder / "app.yaml").write_text("title: x\nlabels: [a, b\nsources: {}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"app\.yaml:3: not valid YAML"):
        read_app(small_app)


def test_an_app_that_does_not_exist_is_said(small_app):
    with pytest.raises(ConfigurationError, match="no such app"):
        read_app(Places("other"))
