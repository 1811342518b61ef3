"""The run of a fine-tuning: epochs, what is kept, what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.training_set import TrainingSet, read_training_set, write_training_set
from ledger.errors import ConfigurationError
from ledger.meter import Usage
from tests.training.conftest import Tree, texts_and_labels
from training import teach
from training.backbone import load_backbone
from training.determinism import make_deterministic
from training.fine_tune import Lesson, Recipe, Watched, fine_tune, smoothed, thinned
from training.sample import sample
from training.teacher import hidden_states, split_teacher
from training.tokenization import encode, read_tokenizer

ROOT = Path(__file__).resolve().parents[2]


def test_the_articles_recipe(checkpoint: Path, tmp_path: Path):
    """AdamW, 2e-5, 5 epochs, batches of 16, all but the last three layers frozen; train, dev and test an epoch at a time.

    The stage reads no test rows; whoever wants them watched hands them over, and they decide nothing.
    """
    recipe = Recipe(
        epochs=5,
        patience=None,
        batch_size=16,
        accumulate=1,
        learning_rate=2e-5,
        warmup=0.0,
        weight_decay=0.01,
        token_dropout=0.0,
        label_smoothing=0.0,
        keep_best=True,
        seed=1,
    )
    texts, labels = texts_and_labels()
    sequences = encode(read_tokenizer(checkpoint / "tokenizer.json", 16), texts)
    make_deterministic(1)
    teacher = split_teacher(load_backbone(checkpoint), 2, 3, 0.1)
    states = hidden_states(teacher, sequences, tmp_path / "states.npy")
    parts = {"train": slice(0, 70), "dev": slice(70, 85), "test": slice(85, 100)}
    watched = {name: Watched(states[part], np.array(labels[part])) for name, part in parts.items()}
    lesson = Lesson(states[:70], np.eye(2, dtype=np.float32)[labels[:70]], np.ones(70, np.float32))
    history = fine_tune(teacher, lesson, watched, recipe)
    assert history.steps == 5 * 5 and [scores["epoch"] for scores in history.scores] == [1, 2, 3, 4, 5]
    for scores in history.scores:
        assert set(scores) == {"epoch", "loss"} | {f"{name}_{what}" for name in parts for what in ("accuracy", "loss")}
    losses = [scores["train_loss"] for scores in history.scores]
    assert losses[-1] < losses[0]
    assert history.best_loss == min(scores["dev_loss"] for scores in history.scores)


@given(length=st.integers(2, 40), share=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_thinning_keeps_the_ends_and_the_order(length: int, share: float, seed: int):
    state = np.arange(length)
    kept = thinned(state, share, np.random.default_rng(seed))
    assert kept[0] == 0 and kept[-1] == length - 1 and (np.diff(kept) > 0).all()
    assert len(kept) == length or share > 0


def test_thinning_leaves_out_the_share_and_other_tokens_each_time():
    random, state = np.random.default_rng(0), np.zeros((10_002, 4))
    assert len(thinned(state, 0.2, random)) == pytest.approx(8002, abs=200)
    assert not np.array_equal(*(thinned(np.arange(50), 0.5, random)[:20] for _ in range(2)))


def test_smoothing_gives_all_labels_a_share_of_what_is_sure():
    sure = np.array([[0.0, 1.0, 0.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(smoothed(sure, 0.2), [[0.05, 0.85, 0.05, 0.05]], rtol=1e-6)
    assert smoothed(sure, 0.2).dtype == np.float32 and smoothed(sure, 0.0) is sure


def test_a_thinned_and_smoothed_run_repeats_itself(tree: Tree):
    """Both take part in the stage, and neither in what it watches."""
    found = {}
    for name, asked in {"plain": {}, "one": {"token_dropout": 0.3, "label_smoothing": 0.1}}.items():
        tree.parameters(teach={"epochs": 2, "method": "full"} | asked)
        for _ in range(2):
            teach.main(tree.places, Usage("teach"))
            found.setdefault(name, set()).add((tree.places.teacher / "model.safetensors").read_bytes())
    assert len(found["plain"]) == len(found["one"]) == 1 and found["plain"] != found["one"]


def test_patience_ends_the_run_and_the_report_says_so(tree: Tree):
    """With gold labels turned round every epoch is worse than the first."""
    training_set = read_training_set(tree.places.training_set)
    turned = pl.when(pl.col("split") == "gold").then(1 - pl.col("label")).otherwise(pl.col("label"))
    rows = training_set.rows.with_columns(label=turned)

    write_training_set(TrainingSet(training_set.labels, rows), tree.places.training_set)
    tree.parameters(teach={"epochs": 30, "patience": 2})
    usage = Usage("teach")
    teach.main(tree.places, usage)
    report = json.loads(tree.places.teach_report.read_text())
    assert report["stopped_early"] and len(report["epochs"]) == report["kept"]["epoch"] + 2 < 30
    assert usage.figures["steps"] == 9 * len(report["epochs"])
    assert report["dev"] == sample(training_set).origin
    assert list(tree.places.tensorboard.rglob("events.out.tfevents.*"))


def test_a_killed_run_goes_on_to_the_same_bytes(tree: Tree):
    tree.parameters(teach={"epochs": 40, "accumulate": 2})
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", "import logging, sys; logging.basicConfig(level=20, stream=sys.stdout)\n"
               "from ledger.meter import Usage; from ledger.places import Places; from training import teach\n"
               "teach.main(Places('tiny'), Usage('teach'))"]  # fmt: skip
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert running.stdout is not None
    assert any("epoch 3/40" in line for line in running.stdout)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not tree.places.teacher.exists()
    (state,) = tree.places.teach_states.glob("*.safetensors")

    def bytes_now() -> dict[str, bytes]:
        files = [*sorted(tree.places.teacher.iterdir()), tree.places.logits, tree.places.teach_report]
        return {path.name: path.read_bytes() for path in files}

    held = state.read_bytes()
    resumed = Usage("teach")
    teach.main(tree.places, resumed)
    found = bytes_now()
    assert not tree.places.teach_states.exists()
    undisturbed = Usage("teach")
    teach.main(tree.places, undisturbed)
    assert bytes_now() == found
    assert resumed.figures["steps"] == undisturbed.figures["steps"] == 40 * 9

    state.parent.mkdir()
    state.write_bytes(held)  # of other parameters: not taken
    tree.parameters(teach={"epochs": 1})
    teach.main(tree.places, Usage("teach"))
    assert len(json.loads(tree.places.teach_report.read_text())["epochs"]) == 1


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_log_whose_package_is_missing(tree: Tree, package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    tree.parameters(teach={"log": {"wandb": None, "mlflow": None} | {package: "somewhere"}})
    with pytest.raises(ConfigurationError, match=f"log.{package} is set, but the package {package} is not installed"):
        teach.main(tree.places, Usage("teach"))
