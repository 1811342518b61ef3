"""Questions as a table that a person fills in, and the filled table read back, however a spreadsheet saved it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeling.review import Question
from ledger.errors import DataError

COLUMNS = ("row_id", "text", "guess", "confidence", "why", "label")

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula (OWASP, CSV injection); an apostrophe before it makes it text."""


@dataclass(frozen=True)
class Given:
    """An answer as it stands in a file.

    Attributes
    ----------
    place : str
        File and line, or file and task, for the messages.
    row_id, label : str
        As written.
    text : str or None
        The text that was shown, if the file has it.
    who, when : str or None
        As the file says; None where it does not.
    """

    place: str
    row_id: str
    label: str
    text: str | None
    who: str | None = None
    when: str | None = None


def write_table(path: Path, questions: Iterable[Question]) -> None:
    """Write questions as CSV with an empty column ``label``; with a byte order mark, or Excel takes UTF-8 for something else."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for question in questions:
            shown = (question.row_id, question.text, question.guess, question.confidence, question.why, "")
            writer.writerow([_as_text(value) if isinstance(value, str) else value for value in shown])


def read_table(path: Path) -> list[Given]:
    """Read the answers of a filled table; rows without a label are passed over.

    Comma, semicolon or tab may part the columns, any of the three ends a line, and a byte order mark may stand first.

    Raises
    ------
    DataError
        If it is not UTF-8 (or UTF-16 with its mark), or has no columns ``row_id`` and ``label``.
    """
    text = _decoded(path)
    header = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names: Sequence[str] | None = None
    given = []
    for row in rows:
        if not any(value.strip() for value in row):
            continue
        if names is None:
            names = [name.strip() for name in row]
            missing = [name for name in ("row_id", "label") if name not in names]
            if missing:
                raise DataError(
                    f"{path}:{rows.line_num}: expected the columns row_id and label, got {', '.join(names)}; keep the header as "
                    "`pricecut review` wrote it"
                )
            continue
        values = dict(zip(names, row, strict=False))
        label = values.get("label", "").strip()
        if label:
            place = f"{path}:{rows.line_num}"
            given.append(Given(place, _as_written(values.get("row_id", "")).strip(), label, _shown(values.get("text"))))
    if names is None:
        raise DataError(f"{path}:1: is empty; expected the columns row_id and label")
    return given


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: not found; expected the table that was filled in") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; expected a file") from None
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: expected UTF-8 text, got {content[error.start : error.start + 4]!r}; save it as 'CSV UTF-8'"
        ) from None


def _as_text(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA) else value


def _as_written(value: str) -> str:
    return value[1:] if value.startswith("'") and value[1:].startswith(FORMULA) else value


def _shown(value: str | None) -> str | None:
    return _as_written(value) if value and value.strip() else None
