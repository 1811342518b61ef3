"""A tiny app, a tiny BERT of two layers with random weights, and the stages run on them once for all tests."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import polars as pl
import pytest
import yaml
from tokenizers import BertWordPieceTokenizer
from tokenizers.processors import BertProcessing

from labeling.training_set import TrainingSet, write_training_set
from ledger.places import Places
from training.shape import Shape

LABELS = ("ham", "spam")
HAM = "i love this song|great music and a lovely voice|this melody makes me cry|best song of the year|her voice is so calm"
SPAM = (
    "check out my channel|subscribe to me please|win free money now|visit my page for free gifts|click this link to win"
)
ENDINGS = ["", " !", " today", " really", " ok", " wow", " everyone", " please", " again", " 2015"]

TINY_BAG = {
    "words": 2,
    "characters": [3, 3],
    "rows": 500,
    "min_count": 2,
    "epochs": 8,
    "batch_size": 16,
    "dropout": 0.3,
}

TINY_CONVOLUTION = {
    "kind": "convolution",
    "width": 8,
    "window": 2,
    "filters": 16,
    "rows": 500,
    "min_count": 2,
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 0.01,
    "dropout": 0.2,
}

PARAMETERS = {
    "teach": {
        "pretrain_epochs": 0,
        "added_words": 0,
        "second_opinion": 0.0,
        "checkpoint": "checkpoint",
        "max_length": 16,
        "pooling": "mean",
        "method": "layers",
        "rank": 4,
        "epochs": 6,
        "patience": None,
        "batch_size": 8,
        "accumulate": 1,
        "learning_rate": 3e-3,
        "warmup": 0.1,
        "weight_decay": 0.01,
        "token_dropout": 0.0,
        "label_smoothing": 0.0,
        "dropout": 0.1,
        "trainable_layers": 1,
        "keep_best": True,
        "seed": 1,
        "log": {"wandb": None, "mlflow": None},
    },
    "hardware": {"strategy": "none", "precision": "float32", "listen": False},
    "distill": {
        "origin": "teacher",
        "layers": None,
        "width": 32,
        "depth": 2,
        "heads": 4,
        "feedforward": 64,
        "widths": [32],
        "depths": [1, 2],
        "shares": [0.5, 1.0],
        "loss": {"logits": 1.0, "labels": 0.2, "hidden": 0.1, "relations": 0.1},
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "warmup": 0.1,
        "weight_decay": 0.01,
        "dropout": 0.1,
        "temperature": 2.0,
        "augment": 1,
        "seed": 1,
    },
    "substitute": {
        "models": {
            "linear": TINY_BAG | {"width": 0, "learning_rate": 0.1},
            "static": TINY_BAG | {"width": 8, "learning_rate": 0.03},
            "convolution": TINY_CONVOLUTION,
        },
        "label_share": 0.5,
        "augment": 1,
        "cascade": ["static"],
        "budgets": [0.05],
        "folds": 2,
        "seed": 1,
    },
    "compress": {
        "formats": ["litert", "onnx"],
        "teacher_formats": ["litert", "onnx"],
        "precisions": ["float32", "int8"],
        "reduce_range": True,
        "budget": 0.05,
        "calibration": 32,
        "recovery_epochs": 0,
        "recovery_learning_rate": 1e-3,
        "seed": 1,
    },
    "evaluate": {
        "gates": {"retained_macro_f1": 0.5, "bytes": 10_000_000, "latency_ms": 1000.0},
        "latency_requests": 10,
        "threads": 1,
        "seed": 1,
    },
}


def texts_and_labels() -> tuple[list[str], list[int]]:
    pairs = [
        (base + ending, label)
        for ending in ENDINGS
        for label, bases in ((0, HAM), (1, SPAM))
        for base in bases.split("|")
    ]
    return [text for text, _ in pairs], [label for _, label in pairs]


def tiny_training_set(gold: bool = True) -> TrainingSet:
    """100 rows: 70 train, 10 unlabeled, 20 gold (or train as well)."""
    texts, labels = texts_and_labels()
    rows = []
    for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
        split = "train" if number < 70 else "unlabeled" if number < 80 else "gold" if gold else "train"
        sure = [0.9, 0.1] if label == 0 else [0.1, 0.9]
        exact = [float(label == 0), float(label == 1)]
        shown = {"train": sure, "unlabeled": [0.5, 0.5], "gold": exact}[split]
        weight = 0.0 if split == "unlabeled" else 1.0
        rows.append((f"row-{number}", text, split, shown, -1 if split == "unlabeled" else label, weight))
    schema = {
        "row_id": pl.String,
        "text": pl.String,
        "split": pl.String,
        "probabilities": pl.List(pl.Float32),
        "label": pl.Int8,
        "weight": pl.Float32,
    }
    return TrainingSet(LABELS, pl.DataFrame(rows, schema=schema, orient="row"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers in Hugging Face's format, its tokenizer trained on the tiny app's texts."""
    from transformers import BertConfig, BertModel, set_seed

    folder = tmp_path_factory.mktemp("bert") / "checkpoint"
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(
        [*texts_and_labels()[0], "unbelievable"], vocab_size=200, min_frequency=1, show_progress=False
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = BertProcessing(*ends)
    set_seed(1)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.enable_truncation(8)  # as published tokenizers do: to be dropped on reading
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@dataclass(frozen=True)
class Tree:
    """A project tree with the tiny app in it; stages run inside."""

    root: Path
    places: Places

    def parameters(self, **sections: dict) -> None:
        document = {name: {**section, **sections.get(name, {})} for name, section in PARAMETERS.items()}
        (self.root / "params.yaml").write_text(yaml.safe_dump(document))


def make_tree(root: Path, checkpoint: Path, training_set: TrainingSet) -> Tree:
    tree = Tree(root, Places("tiny"))
    (root / "checkpoint").symlink_to(checkpoint)
    tree.parameters()
    write_training_set(training_set, root / tree.places.training_set)
    return tree


@pytest.fixture
def tree(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.chdir(tmp_path)
    return make_tree(tmp_path, checkpoint, tiny_training_set())


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Tree:
    """The stages `teach`, `distill` and `compress`, run once on the tiny app."""
    from ledger.meter import Usage
    from training import compress, distill, substitute, teach

    stages = {"teach": teach, "distill": distill, "substitute": substitute, "compress": compress}

    root = tmp_path_factory.mktemp("tree")
    tree = make_tree(root, checkpoint, tiny_training_set())
    before = Path.cwd()
    os.chdir(root)
    try:
        for name, stage in stages.items():
            stage.main(tree.places, Usage(name))
    finally:
        os.chdir(before)
    return tree


def write_label_side(root: Path, places: Places) -> None:
    """What the labeling floor leaves for `evaluate`: test rows, truth, labels, a label model and functions."""
    from labeling.functions import load_functions
    from labeling.label_models import collapse, fit_majority, write_label_model
    from labeling.vote import label_matrix

    folder = root / places.app_folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "functions.py").write_text(
        "from labeling.functions import keyword\n"
        "FUNCTIONS = [keyword('song', 'ham', ['song', 'voice']), keyword('free', 'spam', ['free', 'channel', 'win'])]\n"
    )
    texts, labels = texts_and_labels()
    test = pl.DataFrame(
        {
            "row_id": [f"test-{n}" for n in range(30)],
            "text": [f"{text} yes" for text in texts[:30]],
            "label": labels[:30],
        },
        schema_overrides={"label": pl.Int8},
    )
    test.write_parquet(root / places.test, metadata={"labels": json.dumps(LABELS)})
    rows = tiny_training_set().rows
    truth = pl.DataFrame({"row_id": rows["row_id"][:50], "label": labels[:50]}, schema_overrides={"label": pl.Int8})
    truth.write_parquet(root / places.truth)
    rows.select("row_id", "split", "probabilities", covered=pl.lit(True)).write_parquet(root / places.labels)
    matrix = label_matrix(load_functions(folder, LABELS), rows, LABELS)
    write_label_model(fit_majority(collapse(matrix, 2), np.full(2, 0.5)), root / places.label_model)


TINY_SHAPE = Shape(
    vocabulary=50,
    positions=16,
    classes=3,
    width=16,
    depth=2,
    heads=4,
    head_width=4,
    feedforward=64,
    activation="relu",
    epsilon=1e-12,
    dropout=0.1,
)


def random_weights(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.normal(0, 0.3, size).astype(np.float32) for name, size in shape.weights().items()}


def random_ids(rows: int, length: int, vocabulary: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, vocabulary, (rows, length)).astype(np.int32)
