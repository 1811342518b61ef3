from pathlib import Path

import pytest
import yaml

from ledger.meter import Usage
from ledger.places import Places

ROOT = Path(__file__).resolve().parents[2]

FUNCTIONS = """
from labeling.functions import keyword, expression
import polars as pl
FUNCTIONS = [
    keyword("praise", "good", ["great", "love", "fine"]),
    keyword("blame", "bad", ["awful", "broken", "late"]),
    expression("shouts", "bad", pl.col("text").str.contains("!!")),
]
"""

GOOD = ["great", "love", "fine"]
BAD = ["awful", "broken", "late"]
THINGS = [
    "kettle",
    "lamp",
    "phone",
    "router",
    "chair",
    "table",
    "pan",
    "bike",
    "coat",
    "clock",
    "radio",
    "shelf",
    "knife",
]


def messages(count=120):
    rows = []
    for i in range(count):
        good = i % 2 == 0
        word = (GOOD if good else BAD)[i % 3]
        text = f"the {THINGS[i % 13]} number {i * 7919 % 1000} from street {i * 31 % 97} is {word} {'!!' if i % 7 == 1 else ''}"
        rows.append((str(i), text, "good" if good else "bad", "shop" if i % 5 else "web"))
    return rows


def csv_of(rows, header="no,said,truth,place"):
    return header + "\n" + "".join(",".join(row) + "\n" for row in rows)


@pytest.fixture
def small_app(tmp_path, monkeypatch):
    """An app of one CSV, in a root of its own; returns its places."""
    monkeypatch.chdir(tmp_path)
    parameters = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("encoder: minilm", "encoder: none")
    (tmp_path / "params.yaml").write_text(parameters, encoding="utf-8")
    places = Places("small", Path())
    places.app_folder.mkdir(parents=True)
    Path("sources").mkdir()
    Path("sources/shop.csv").write_text(csv_of(messages()), encoding="utf-8")
    write_app(places, {})
    (places.app_folder / "functions.py").write_text(FUNCTIONS, encoding="utf-8")
    return places


def write_app(places, changes):
    configuration = {
        "title": "Is it good?",
        "labels": ["bad", "good"],
        "sources": {
            "shop": {"file": "shop.csv", "columns": {"id": "no", "text": "said", "label": "truth", "place": "place"}}
        },
    } | changes
    (places.app_folder / "app.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")


def run_until(places, last):
    """Run the stages in order, in this process, up to and with one."""
    from labeling import audit, collect, embed, fuse, label, vote

    for stage in (collect, fuse, embed, vote, label, audit):
        name = stage.__name__.rpartition(".")[2]
        arguments = ("sources",) if name in ("collect", "fuse") else ()
        stage.main(places, Usage(name), *arguments)
        if name == last:
            return
