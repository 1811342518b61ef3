"""Reads one source's file into a table of strings, and says clearly what is wrong where it cannot."""

import csv
import io
import json
from pathlib import Path

import polars as pl

from labeling.app import Source
from ledger.errors import DataError

ROW = "__row__"
"""The number of a row in its file, from 1, the header not counted."""

VOTE_PREFIX = "vote_"
"""A WRENCH file's votes become the columns vote_0, vote_1, ..."""


def read_source(name: str, source: Source, folder: Path) -> pl.DataFrame:
    """Read a source's file.

    Parameters
    ----------
    name : str
        The source's name, for messages.
    source : Source
        Its configuration.
    folder : Path
        The app's folder of sources.

    Returns
    -------
    pl.DataFrame
        The file's columns, as strings, and ROW (uint32).

    Raises
    ------
    DataError
        If the file is missing, empty, of an unknown format, of another encoding, or lacks a mapped column.
    """
    path = folder / source.file
    if not path.is_file():
        raise DataError(f"{path}: source '{name}' not found; expected a file there, or correct 'file' in app.yaml")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: source '{name}' is empty; expected at least one row of data")
    table = _parse(name, source, path)
    if table.height == 0:
        raise DataError(f"{path}: source '{name}' has a header and no row; expected at least one row of data")
    for ours, theirs in source.columns.items():
        if theirs not in table.columns:
            columns = ", ".join(column for column in table.columns)
            raise DataError(
                f"{path}: no column '{theirs}' (mapped to '{ours}' of source '{name}' in app.yaml); the file has: {columns}"
            )
    return table.with_row_index(ROW, offset=1)


def _parse(name: str, source: Source, path: Path) -> pl.DataFrame:
    match source.kind:
        case "csv":
            return _read_csv(decode(path, source.encoding), path)
        case "jsonl":
            return _read_jsonl(decode(path, source.encoding), path)
        case "wrench":
            return read_wrench(path, source.encoding)
        case "parquet":
            try:
                return _as_strings(pl.read_parquet(path))
            except pl.exceptions.PolarsError as error:
                raise DataError(f"{path}: expected a Parquet file: {_first_line(error)}") from None
        case None:
            raise DataError(
                f"{path}: source '{name}': unknown format '{path.suffix}'; add 'format: csv', jsonl, parquet or wrench"
            )


def decode(path: Path, encoding: str) -> str:
    """Decode a text file, or name the first line that is not in the encoding."""
    raw = path.read_bytes()
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise DataError(
            f"{path}: unknown encoding '{encoding}'; expected one that Python knows, such as utf-8"
        ) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not {encoding} (byte 0x{raw[error.start]:02x}, offset {error.start}); "
            "save the file as UTF-8, or state its 'encoding' (often latin-1 or cp1252) in app.yaml"
        ) from None


def _read_csv(text: str, path: Path) -> pl.DataFrame:
    try:
        # Strings only: what looks like a number to a parser is an identifier to its owner.
        return pl.read_csv(io.BytesIO(text.encode()), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path}:{_ragged_line(text)}: expected a CSV with as many cells in each row as in its header: "
            f"{_first_line(error)}; quote a cell that holds a comma or a line break"
        ) from None


def _ragged_line(text: str) -> int:
    """Find the line of the first row that has more cells than the header."""
    reader = csv.reader(io.StringIO(text))
    width = len(next(reader, []))
    return next((reader.line_num for row in reader if len(row) > width), 1)


def _read_jsonl(text: str, path: Path) -> pl.DataFrame:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines() would cut at U+2028 too
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: expected one JSON object a line: {error.msg}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, got {type(row).__name__}")
        rows.append({key: _as_string(value) for key, value in row.items()})
    return _table(rows)


def read_wrench(path: Path, encoding: str = "utf-8") -> pl.DataFrame:
    """Read a file of the WRENCH benchmark (Zhang et al. 2021, section 3): id, text, label and the votes.

    Raises
    ------
    DataError
        If the file is not such a JSON.
    """
    try:
        document = json.loads(decode(path, encoding))
        rows = [
            {"id": key, "text": _as_string(entry["data"]["text"]), "label": str(entry["label"])}
            | {f"{VOTE_PREFIX}{j}": str(vote) for j, vote in enumerate(entry["weak_labels"])}
            for key, entry in document.items()
        ]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path}: expected WRENCH\'s JSON {{"0": {{"data": {{"text": ...}}, "label": ..., "weak_labels": [...]}}}}: {error}'
        ) from None
    return _table(rows)


def _table(rows: list[dict[str, str | None]]) -> pl.DataFrame:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return pl.DataFrame({column: pl.Series([row.get(column) for row in rows], dtype=pl.String) for column in columns})


def _as_string(value: object) -> str | None:
    if isinstance(value, str):
        # JSON can spell half a character, such as an emoji cut in two; no table can hold it.
        return value.encode("utf-8", "replace").decode("utf-8")
    if value is None:
        return None
    return json.dumps(value, ensure_ascii=False)


def _as_strings(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(pl.all().cast(pl.String, strict=False))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
