"""The file of a model that NumPy serves: a table with a row a hash, and a small head; safetensors, its settings in the metadata."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save


@dataclass(frozen=True)
class TableFile:
    """What stands in the file.

    Attributes
    ----------
    settings : dict
        Whatever else the model needs, as JSON has it.
    keys : np.ndarray
        Hashes that have a row, uint32 of shape ``(rows,)``, ascending.
    table : np.ndarray
        Float32 of shape ``(rows, width)``.
    head : dict of str to np.ndarray
        Float32, by name.
    """

    settings: dict[str, Any]
    keys: np.ndarray
    table: np.ndarray
    head: dict[str, np.ndarray]


def quantize(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a table in int8, and the float32 scale of each of its rows, ``(rows, 1)``."""
    scale = np.abs(table).max(axis=1, keepdims=True, initial=0) / 127
    scale = np.where(scale > 0, scale, 1).astype(np.float16).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(6e-8))  # below float16's smallest number
    return np.clip(np.rint(table / scale), -127, 127).astype(np.int8), scale


def rounded(table: np.ndarray) -> np.ndarray:
    """Return a table as it will be once written in int8 and read again."""
    whole, scale = quantize(table)
    return np.asarray(whole * scale)


def table_bytes(model: TableFile, kind: str, precision: str) -> bytes:
    """Return the file's bytes, the same for the same model; ``kind`` names the settings."""
    tensors = {"keys": model.keys, **{f"head/{name}": weight for name, weight in model.head.items()}}
    if precision == "int8":
        table, scale = quantize(model.table)
        tensors |= {"table": table, "scale": scale.astype(np.float16)}
    else:
        tensors |= {"table": model.table}
    return save(tensors, metadata={kind: json.dumps(model.settings)})


def read_table(path: Path, kind: str) -> TableFile:
    """Read a file; its table comes back in float32, which NumPy adds up fastest.

    Raises
    ------
    Exception
        Whatever safetensors or JSON raise of a file that is none of this kind.
    """
    with safe_open(str(path), framework="numpy") as file:
        settings = json.loads(file.metadata()[kind])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    table = tensors["table"].astype(np.float32)
    if "scale" in tensors:
        table *= tensors["scale"].astype(np.float32)
    head = {name.removeprefix("head/"): tensor for name, tensor in tensors.items() if name.startswith("head/")}
    return TableFile(settings, tensors["keys"], table, head)
