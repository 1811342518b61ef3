"""The stage `compress`: what it judges by, what the cards say, and that its bytes repeat."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labeling.training_set import read_training_set, write_training_set
from ledger.errors import ConfigurationError
from ledger.meter import Usage
from ledger.places import Places
from tests.training.conftest import Tree, random_weights, tiny_training_set
from tests.training.test_quantize_budget import spoil
from training import compress
from training.artifact import read_card
from training.model_files import read_model, write_model
from training.runtime import load
from training.tokenization import encode


@pytest.fixture
def copy(trained: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    shutil.copytree(trained.root, tmp_path / "tree", symlinks=True)
    monkeypatch.chdir(tmp_path / "tree")
    shutil.rmtree(trained.places.candidates)
    return trained.places


def run(places: Places, **section: object) -> dict[str, Path]:
    Tree(Path(), places).parameters(compress={"teacher_formats": ["onnx"], **section})
    compress.main(places, Usage("compress"))
    return {path.name: path for path in places.candidates.iterdir()}


def largest_student(found: dict[str, Path], form: str) -> dict[str, Path]:
    """The folders of the largest slice in a format, by precision."""
    cards = {name: card for name, folder in found.items() if (card := read_card(folder)).format != "cascade"}
    most = max(card.parameters for card in cards.values() if card.role == "student")
    return {
        card.precision: found[name] for name, card in cards.items() if card.format == form and card.parameters == most
    }


def test_every_precision_is_served(copy: Places):
    found = run(copy, precisions=["float32", "int8", "int8_static", "int4"], budget=1.0)
    texts = tiny_training_set().rows["text"].to_list()
    for form in ("litert", "onnx"):
        folders = largest_student(found, form)
        sizes = {bits: next(folder.glob("model.*")).stat().st_size for bits, folder in folders.items()}
        assert sizes["float32"] > max(sizes["int8"], sizes["int8_static"]) and sizes["int4"] < sizes["int8"]
        answers = {bits: load(folder).predict(texts).argmax(1) for bits, folder in folders.items()}
        assert all((answer == answers["float32"]).mean() > 0.8 for answer in answers.values())
        seven_or_eight = {"litert": 8, "onnx": 7}[form]
        assert {bits: read_card(folder).kernel_bits for bits, folder in folders.items()} == {
            "float32": None,
            "int8": seven_or_eight,
            "int8_static": seven_or_eight,
            "int4": None,
        }
        assert all(read_card(folder).put_back is None for folder in folders.values())


def test_the_card_says_what_was_put_back(copy: Places):
    """Without gold every answer that changes counts; a layer that int8 makes nothing of changes many."""
    student = read_model(copy.student, "distill")
    weights = spoil(random_weights(student.shape, seed=1), "block_1/expand/kernel")
    same = {name: value * 0 for name, value in weights.items() if name.endswith(("/beta", "/bias"))}  # answers vary
    write_model(replace(student, weights=weights | same), copy.student)
    write_training_set(tiny_training_set(gold=False), copy.training_set)
    found = run(copy, precisions=["int8"], budget=0.0)
    deep = [read_card(largest_student(found, form)["int8"]) for form in ("litert", "onnx")]
    assert all(card.precision == "int8" and card.put_back["block_1/expand"] == "float32" for card in deep)
    figures = json.loads(copy.meter("compress").read_text())["figures"]
    assert figures["candidates"] == len(found) and figures["put_back"] >= 2


def test_gold_judges_and_is_never_learned_from(copy: Places):
    student = read_model(copy.student, "distill")
    training_set = read_training_set(copy.training_set)
    rows = training_set.rows
    texts = compress.texts_of(training_set, student)
    gold = rows.filter(rows["split"] == "gold")
    judged = [list(ids) for ids in texts.judged]
    assert judged[: gold.height] == [list(ids) for ids in encode(student.tokenizer, gold["text"].to_list())]
    assert judged[gold.height :] == [list(ids) for ids in texts.learned]
    np.testing.assert_array_equal(texts.truth, gold["label"].to_numpy())
    assert len(texts.learned) == rows.height - gold.height


def test_without_gold_train_rows_judge_by_agreement(copy: Places):
    texts = compress.texts_of(tiny_training_set(gold=False), read_model(copy.student, "distill"))
    assert texts.truth is None and len(texts.judged) == min(1000, len(texts.learned)) > 0


def test_the_same_student_gives_the_same_bytes(copy: Places):
    def contents() -> dict[str, bytes]:
        shutil.rmtree(copy.candidates, ignore_errors=True)
        found = run(copy, precisions=["int8_static", "int4"], budget=0.0, recovery_epochs=1)
        return {f"{name}/{path.name}": path.read_bytes() for name, folder in found.items() for path in folder.iterdir()}

    assert contents() == contents()


@pytest.mark.parametrize(
    "section", [{"budget": -0.1}, {"precisions": ["int3"]}, {"precisions": []}, {"calibration": 0}]
)
def test_parameters_that_make_no_sense(copy: Places, section: dict):
    with pytest.raises(ConfigurationError):
        run(copy, **section)
