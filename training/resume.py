"""Holds all that a training run needs to go on after a kill, in one file that is whole or not there."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from ledger.errors import CheckpointError


def fingerprint(files: list[Path], facts: dict[str, Any]) -> str:
    """Return a name for what a run is made from: 32 hexadecimal digits.

    Parameters
    ----------
    files : list of Path
        Their bytes count, not their names.
    facts : dict
        Whatever else makes the result, as JSON has it; the code of `training` and the libraries' versions are added.
    """
    code = {
        name: hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
        for name, module in sorted(sys.modules.items())
        if name.startswith("training.") and getattr(module, "__file__", None)
    }
    versions = {name: str(getattr(sys.modules.get(name), "__version__", "")) for name in ("keras", "tensorflow")}
    digest = hashlib.sha256(json.dumps([facts, code, versions], sort_keys=True).encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:32]


def write_state(path: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Write arrays as safetensors, with facts as JSON in its header; a kill leaves the file before this one in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    whole = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    save_file(whole, part, metadata={"facts": json.dumps(facts)})
    part.replace(path)


def read_state(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_state` wrote.

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118  (not a mapping)
    except Exception as error:  # the library raises types of its own
        raise CheckpointError(f"{path}: unreadable ({error}); delete it to train from the beginning") from None
