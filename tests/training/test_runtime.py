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


@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_serving_imports_neither_tensorflow_nor_torch(trained: Tree, form: str):
    folder = trained.root / trained.places.candidates / f"student-w32-d2-h4-f64-{form}-int8"
    program = (
        "import json, sys\nfrom pathlib import Path\nfrom training.runtime import load\n"
        f"assert load(Path({str(folder)!r})).predict(['free money']).shape == (1, 2)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
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
        "polars",
        "pandas",
    }


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
