"""Reads the corpus and its label names, which travel in the file's own metadata."""

import json
from pathlib import Path

import polars as pl

from ledger.errors import DataError


def read_labels(path: Path) -> tuple[str, ...]:
    """Read the label names that a table of pricecut carries; the position is the label's number.

    Raises
    ------
    DataError
        If the file is missing or carries none.
    """
    if not path.exists():
        raise DataError(f"{path}: not found; run the stage that writes it (`dvc repro`, or `pricecut run`)")
    try:
        return tuple(json.loads(pl.read_parquet_metadata(path)["labels"]))
    except (KeyError, json.JSONDecodeError, pl.exceptions.PolarsError):
        raise DataError(f"{path}: carries no label names; expected a table that `fuse` wrote; run it again") from None


def read_corpus(path: Path) -> tuple[tuple[str, ...], pl.DataFrame]:
    """Read the label names and the corpus: rows of the splits ``train`` and ``gold``.

    Returns
    -------
    labels : tuple of str
        The classes' names.
    rows : pl.DataFrame
        ``row_id``, ``text``, ``label`` (int8; -1 for train), ``split``, ``sources``, ``records`` and the app's fields.
    """
    return read_labels(path), pl.read_parquet(path)
