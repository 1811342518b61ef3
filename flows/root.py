"""Finds the project: the folder that holds ``dvc.yaml`` and ``params.yaml``, here or above."""

import os
from pathlib import Path

from ledger.errors import ConfigurationError
from ledger.parameters import PARAMETERS_FILE

DAG_FILE = Path("dvc.yaml")


def find_root(start: Path) -> Path:
    """Return the nearest folder from ``start`` upwards that is a pricecut project.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    for folder in (start, *start.parents):
        if (folder / PARAMETERS_FILE).is_file() and (folder / DAG_FILE).is_file() and (folder / "labeling").is_dir():
            return folder
    raise ConfigurationError(
        f"{start}: not inside a pricecut project; expected dvc.yaml, params.yaml and labeling/ here or in a folder above; "
        "change into your clone"
    )


def enter_root() -> Path:
    """Make the project's root the working directory, as every stage has it, and return where the caller stood."""
    caller = Path.cwd()
    os.chdir(find_root(caller))
    return caller
