"""The table of embeddings between `embed` and the stages that read it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ledger.errors import DataError

NO_ENCODER = "none"
"""The value of ``embed.encoder`` that leaves the table empty."""


@dataclass(frozen=True)
class KnownTexts:
    """Texts that have been embedded already.

    Attributes
    ----------
    encoder : str
        As ``embed.encoder`` names it.
    max_length : int
        Tokens at which a text was cut.
    position : mapping of str to int
        A text to its row of ``embeddings``.
    embeddings : np.ndarray
        float32 of shape (texts, width), rows of length 1.
    """

    encoder: str
    max_length: int
    position: Mapping[str, int]
    embeddings: np.ndarray


def write_embeddings(
    path: Path, row_ids: pl.Series, embeddings: np.ndarray, labels: Sequence[str], encoder: dict[str, str | int]
) -> None:
    """Write ``row_id`` and ``embedding`` (Array(Float32, width)); the encoder and the label names in the metadata."""
    width = embeddings.shape[1]
    column = pl.Series(
        "embedding", np.ascontiguousarray(embeddings, dtype=np.float32), dtype=pl.Array(pl.Float32, width)
    )
    metadata = {
        "labels": json.dumps(list(labels), ensure_ascii=False),
        "encoder": json.dumps(encoder, ensure_ascii=False),
    }
    pl.DataFrame([row_ids.alias("row_id"), column]).write_parquet(path, metadata=metadata)


def read_embeddings(path: Path, row_ids: pl.Series) -> np.ndarray | None:
    """Read the embeddings of the given rows, in their order.

    Returns
    -------
    np.ndarray or None
        float32 of shape (rows, width); None where ``embed.encoder`` is ``none``.

    Raises
    ------
    DataError
        If the file is missing, or a row has no embedding.
    """
    table = read_embedding_table(path)
    if table is None:
        return None
    joined = pl.DataFrame([row_ids.alias("row_id")]).join(table, on="row_id", how="left", maintain_order="left")
    if joined["embedding"].null_count():
        raise DataError(f"{path}: its rows are not those of the corpus; run `embed` again")
    return joined["embedding"].to_numpy()


def read_embedding_table(path: Path) -> pl.DataFrame | None:
    """Read the table as it stands, or None where it was written without an encoder."""
    if not path.exists():
        raise DataError(f"{path}: not found; run the stage that writes it, `embed` (`dvc repro`, or `pricecut run`)")
    if json.loads(pl.read_parquet_metadata(path).get("encoder", "{}")).get("name") == NO_ENCODER:
        return None
    return pl.read_parquet(path)


def read_known_texts(path: Path, rows: pl.DataFrame) -> KnownTexts | None:
    """Read the corpus' embeddings by text, or None where it was embedded without an encoder.

    Parameters
    ----------
    path : Path
        The table that `embed` wrote.
    rows : pl.DataFrame
        The corpus: ``row_id`` and ``text``.

    Raises
    ------
    DataError
        If the file is missing, or a row has no embedding.
    """
    embeddings = read_embeddings(path, rows["row_id"])
    if embeddings is None:
        return None
    told = json.loads(pl.read_parquet_metadata(path)["encoder"])
    position = {text: row for row, text in enumerate(rows["text"])}
    return KnownTexts(str(told["name"]), int(told["max_length"]), position, embeddings)
