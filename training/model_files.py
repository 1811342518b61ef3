"""The files of a model between two stages: shape and labels as JSON, weights as safetensors, the tokenizer."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from ledger.errors import CheckpointError
from training.shape import Shape, Size
from training.tokenization import read_tokenizer, write_tokenizer


@dataclass(frozen=True)
class Model:
    """A classifier as it lies in its folder.

    Attributes
    ----------
    labels : tuple of str
        The names of the classes.
    max_length : int
        Tokens to which a text is cut.
    sizes : tuple of Size
        The slices it was trained for, smallest first; the network's own where it is not elastic.
    shape : Shape
        The network.
    weights : dict of str to np.ndarray
        Float32, named as `training.elastic_classifier.named_weights` names them.
    tokenizer : Tokenizer
        Cuts to ``max_length``, pads nothing.
    """

    labels: tuple[str, ...]
    max_length: int
    sizes: tuple[Size, ...]
    shape: Shape
    weights: dict[str, np.ndarray]
    tokenizer: Tokenizer


def write_model(model: Model, folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` and ``tokenizer.json``; the same model gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "labels": list(model.labels),
        "max_length": model.max_length,
        "sizes": [asdict(size) for size in model.sizes],
        "shape": asdict(model.shape),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    weights = {name: np.ascontiguousarray(model.weights[name]) for name in sorted(model.weights)}
    save_file(weights, folder / "model.safetensors")
    write_tokenizer(model.tokenizer, folder / "tokenizer.json")


def read_model(folder: Path, stage: str) -> Model:
    """Read a model's folder.

    Parameters
    ----------
    folder : Path
        Where ``write_model`` put it.
    stage : str
        The stage that writes it, for the message.

    Raises
    ------
    CheckpointError
        If the folder is missing or cannot be read.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: no model there; run the stage '{stage}' first")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
        shape = Shape(**config["shape"])
        labels, sizes = tuple(config["labels"]), tuple(Size(**size) for size in config["sizes"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: unreadable ({error}); run the stage '{stage}' again") from None
    tokenizer = read_tokenizer(folder / "tokenizer.json", config["max_length"])
    return Model(labels, config["max_length"], sizes, shape, weights, tokenizer)
