"""Reads a table that holds a row a row of the corpus."""

from pathlib import Path

import polars as pl

from ledger.errors import DataError


def read_table(path: Path, corpus: pl.DataFrame) -> pl.DataFrame:
    """Read a table whose rows are those of the corpus, in its order.

    Raises
    ------
    DataError
        If it is missing, or its rows are others.
    """
    if not path.exists():
        raise DataError(f"{path}: not found; run the stage that writes it (`pricecut run`, or `pricecut functions`)")
    table = pl.read_parquet(path)
    if not table["row_id"].equals(corpus["row_id"]):
        raise DataError(f"{path}: its rows are not those of the corpus; run the stages again (`pricecut run`)")
    return table
