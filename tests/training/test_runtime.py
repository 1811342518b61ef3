import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ledger.errors import CheckpointError
from tests.training.conftest import LABELS, Tree
from training.runtime import load, softmax

PROJECT = Path(__file__).parents[2]
TEXTS = ["win free money now", "i love this song so much that i could hear it all day long", "hello"]


@pytest.fixture(params=["litert-int8", "onnx-int8", "litert-float32", "onnx-float32"])
def folder(request: pytest.FixtureRequest, trained: Tree) -> Path:
    return trained.root / trained.places.candidates / f"student-w32-d2-h4-f64-{request.param}"


def test_predicts_in_the_order_of_the_texts(folder: Path):
    classifier = load(folder)
    together = classifier.predict(TEXTS, batch_size=2)
    assert together.shape == (3, 2) and together.dtype == np.float32
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    alone = np.concatenate([classifier.predict([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=0.03)  # int8 scales its activations over a batch
    assert classifier.labels == LABELS


def test_no_texts(folder: Path):
    assert load(folder).predict([]).shape == (0, 2)


def test_a_text_is_not_a_list_of_texts(folder: Path):
    with pytest.raises(TypeError, match="pass \\[text\\]"):
        load(folder).predict("hello")


def test_empty_and_long_texts(folder: Path):
    assert np.isfinite(load(folder, threads=2).predict(["", "word " * 1000])).all()


@pytest.mark.parametrize("form", ["litert", "onnx", "bag", "cascade"])
def test_serving_needs_neither_tensorflow_nor_torch(trained: Tree, form: str):
    """Both are barred from import in a process of its own, as if they were not installed."""
    places = trained.places
    network = f"student-w32-d2-h4-f64-{form if form in ('litert', 'onnx') else 'litert'}-int8"
    folder = {
        "bag": places.substitutes / "linear",
        "cascade": places.candidates / f"static-0.05-{network}",
    }.get(form, places.candidates / network)
    program = (
        "import json, sys\n"
        "for name in ('tensorflow', 'torch', 'keras'): sys.modules[name] = None\n"
        "from pathlib import Path\nfrom training.runtime import load\n"
        f"classifier = load(Path({str(trained.root / folder)!r}))\n"
        "assert classifier.predict(['free money']).shape == (1, 2)\n"
        "assert classifier.predict(['what', 'free money', 'melody']).shape == (3, 2)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name, module in sys.modules.items() if module})))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"numpy", "tokenizers"} <= modules
    assert not modules & {
        "tensorflow",
        "torch",
        "keras",
        "keras_hub",
        "transformers",
        "snorkel",
        "sklearn",
        "scipy",
        "polars",
        "pandas",
    }


@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_one_text_of_any_length_is_answered_as_in_a_batch(trained: Tree, form: str):
    classifier = load(trained.root / trained.places.candidates / f"student-w32-d2-h4-f64-{form}-float32")
    texts = ["free money " * count for count in range(10)]
    together = classifier.predict(texts)
    for _ in range(2):  # the second time LiteRT has an interpreter for each length
        alone = np.concatenate([classifier.predict([text]) for text in texts])
        np.testing.assert_allclose(alone, together, atol=1e-5)


def test_texts_without_end_are_answered_as_they_come(trained: Tree, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.runtime.CHUNK", 3)
    classifier = load(trained.root / trained.places.substitutes / "static")
    source = (TEXTS[number % 3] for number in itertools.count())
    chunks = list(itertools.islice(classifier.stream(source), 4))
    assert [texts for texts, _ in chunks] == [TEXTS] * 4
    np.testing.assert_array_equal(chunks[3][1], classifier.predict(TEXTS))
    np.testing.assert_array_equal(classifier.predict(TEXTS * 3)[6:], chunks[0][1])


def test_missing_folder_says_to_run_the_pipeline(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"no model there; run the pipeline first \(pricecut run shop"):
        load(tmp_path / "models" / "shop" / "published")


def test_missing_model_file(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("model.*"))
    with pytest.raises(CheckpointError, match="not found, though its card names it"):
        load(tmp_path / "copy")


def test_broken_model_file(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "copy")
    next((tmp_path / "copy").glob("model.*")).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot read it"):
        load(tmp_path / "copy")


def test_broken_card(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "card.json").write_text('{"name": "x"}')
    with pytest.raises(CheckpointError, match=r"card\.json: not a model's card"):
        load(tmp_path / "copy")


def test_softmax():
    np.testing.assert_allclose(softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])), [[0.5, 0.5], [1.0, 0.0]])


def test_a_fresh_process_serves_the_published_folder_alone(trained: Tree, tmp_path: Path):
    """With TensorFlow and torch out of reach, and nothing of the pipeline beside the folder."""
    for form in ("litert", "onnx"):
        folder = tmp_path / form / "published"
        shutil.copytree(trained.root / trained.places.candidates / f"student-w32-d2-h4-f64-{form}-int8", folder)
        program = (
            "import sys\nfor name in ('tensorflow', 'torch', 'keras', 'keras_hub', 'transformers'): sys.modules[name] = None\n"
            f"sys.path.insert(0, {str(PROJECT)!r})\n"
            "from pathlib import Path\nfrom training.confidence import tempered\nfrom training.runtime import load\n"
            "print(tempered(load(Path('published')).predict(['free money']), 2.0).shape)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder.parent, capture_output=True, text=True, check=False
        )
        assert done.stdout == "(1, 2)\n", done.stderr


def test_a_card_written_before_is_still_read(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "copy")
    card = json.loads((folder / "card.json").read_text())
    card["published"] = {
        "training_set_sha256": "0" * 64,
        "chosen_on": "9 rows",
        "passed": True,
        "scores": {"accuracy": 0.9},
        "limits": [],
    }
    (tmp_path / "copy" / "card.json").write_text(json.dumps(card))
    published = load(tmp_path / "copy").card.published
    assert published is not None and (published.temperature, published.unsure_below) == (1.0, 0.0)
