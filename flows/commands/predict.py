"""`pricecut predict`: texts in, JSON lines or a table out, as they come."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.root import enter_root
from flows.shell import AppName, tell
from ledger.errors import ConfigurationError, DataError
from ledger.places import Places

BATCH = 256
SAY_EVERY = 20_000
"""Rows between two words of progress."""

Row = dict[str, Any]
"""What a line or a record held; its text stands beside it."""


def predict(
    app: AppName,
    file: Annotated[
        str, typer.Argument(metavar="[FILE|-]", help="A text a line, a .csv or a .jsonl; '-' reads standard input.")
    ] = "-",
    field: Annotated[
        str | None,
        typer.Option(
            "--field", help="The column, or the JSON field, that the text stands in ('text' in .csv and .jsonl)."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="A .csv or .jsonl to write: the rows, and their answers.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Classify texts with the published model: label, confidence, and whether it is unsure.

    Files are read and written as they go, however large. Neither TensorFlow nor torch is loaded.
    """
    from training.confidence import tempered
    from training.runtime import load

    caller = enter_root()
    classifier = load(Places(app).published, threads)
    said = classifier.card.published
    if said is not None and not said.passed:
        tell(f"'{classifier.card.name}' misses the gates of params.yaml; see its card in {Places(app).published}")
    temperature, unsure_below = (said.temperature, said.unsure_below) if said else (1.0, 0.0)
    done = 0
    with writer(output, caller) as write:
        for rows in batches(read_rows(file, caller, field)):
            shares = tempered(classifier.predict([text for text, _ in rows]), temperature)
            answers = [answer(row, classifier.labels, unsure_below) for row in shares]
            try:
                write([(text, row, found) for (text, row), found in zip(rows, answers, strict=True)])
            except BrokenPipeError:  # `pricecut predict ... | head`: whoever reads has enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return
            done += len(rows)
            if output is not None and done // SAY_EVERY > (done - len(rows)) // SAY_EVERY:
                tell(f"{done:,} texts")
    if output is not None:
        tell(f"{done:,} texts answered: {output}")


def answer(probabilities: Iterable[float], labels: tuple[str, ...], unsure_below: float = 0.0) -> Row:
    """Return one answer: ``label``, ``confidence``, ``unsure``, ``probabilities``."""
    shares = {label: round(float(p), 6) for label, p in zip(labels, probabilities, strict=True)}
    likeliest = max(shares, key=lambda label: shares[label])
    confidence = shares[likeliest]
    return {"label": likeliest, "confidence": confidence, "unsure": confidence < unsure_below, "probabilities": shares}


Write = Callable[[list[tuple[str, Row, Row]]], None]


def writer(output: str | None, caller: Path) -> AbstractContextManager[Write]:
    """Return what writes answers: to standard output as JSON lines, or into a file, which is there once it is whole.

    Raises
    ------
    ConfigurationError
        If the file's name ends in neither ``.csv`` nor ``.jsonl``.
    """
    if output is None:
        return _to_stdout()
    if not output.endswith((".csv", ".jsonl")):
        raise ConfigurationError(f"--output {output}: expected a name that ends in .csv or .jsonl")
    return _to_file(caller / output)


@contextmanager
def _to_stdout() -> Iterator[Write]:
    def write(rows: list[tuple[str, Row, Row]]) -> None:
        lines = [json.dumps({"text": text} | found, ensure_ascii=False) for text, _, found in rows]
        print("\n".join(lines), flush=True)

    yield write


@contextmanager
def _to_file(path: Path) -> Iterator[Write]:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            table: csv.DictWriter[str] | None = None

            def write(rows: list[tuple[str, Row, Row]]) -> None:
                nonlocal table
                if path.suffix == ".jsonl":
                    file.writelines(json.dumps(row | found, ensure_ascii=False) + "\n" for _, row, found in rows)
                    return
                if table is None:
                    columns = [
                        *rows[0][1],
                        *(name for name in ("label", "confidence", "unsure") if name not in rows[0][1]),
                    ]
                    table = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
                    table.writeheader()
                table.writerows(row | found for _, row, found in rows)

            yield write
        part.replace(path)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise DataError(f"{path}: cannot be written ({error.strerror}); name a place that can") from None
    finally:
        part.unlink(missing_ok=True)


def read_rows(file: str, caller: Path, field: str | None) -> Iterator[tuple[str, Row]]:
    """Yield each text with the row it stands in; a row is what the file's name, or ``--field``, says it is."""
    lines = read_lines(file, caller)
    if file.lower().endswith(".csv"):
        yield from _csv_rows(file, lines, field or "text")
        return
    if field is None and file.lower().endswith((".jsonl", ".ndjson")):
        field = "text"
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        yield (text, {"text": text}) if field is None else text_and_row(text, field, number)


def _csv_rows(file: str, lines: Iterator[str], field: str) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(2**31 - 1)
    rows = csv.DictReader(lines, strict=True)
    try:
        if field not in (rows.fieldnames or ()):
            raise DataError(
                f"{file}: expected a column '{field}', got {', '.join(rows.fieldnames or ['nothing'])}; see --field"
            )
        for row in rows:
            if None in row or row[field] is None:
                raise DataError(
                    f"{file}:{rows.line_num}: expected {len(rows.fieldnames or ())} cells, as in the header"
                )
            yield row[field], row
    except csv.Error as error:
        raise DataError(f"{file}:{rows.line_num}: not a row of a CSV ({error}); mend it") from None


def read_lines(file: str, caller: Path) -> Iterator[str]:
    """Yield the lines of a file, as seen from where the command was called, or of standard input."""
    try:
        if file == "-":
            if isinstance(sys.stdin, io.TextIOWrapper):  # whatever the locale says
                sys.stdin.reconfigure(encoding="utf-8", errors="strict")
            yield from sys.stdin
        else:
            with (caller / file).open(encoding="utf-8-sig", newline="") as lines:
                yield from lines
    except FileNotFoundError:
        raise DataError(f"{file}: not found; expected a text a line there, or '-' for standard input") from None
    except IsADirectoryError:
        raise DataError(f"{file}: is a folder; expected a file with a text a line") from None
    except UnicodeDecodeError as error:
        named = "standard input" if file == "-" else file
        raise DataError(
            f"{named}: expected UTF-8 text, got {error.object[error.start : error.start + 8]!r}; convert it first"
        ) from None


def batches(rows: Iterable[tuple[str, Row]], size: int = BATCH) -> Iterator[list[tuple[str, Row]]]:
    """Gather rows into batches."""
    batch: list[tuple[str, Row]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def text_and_row(line: str, field: str, number: int) -> tuple[str, Row]:
    """Return one field of a line of JSON, and all of the line."""
    try:
        row: Row = json.loads(line)
        value = row[field]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise DataError(f"line {number}: expected a JSON object with the field '{field}', got {line[:60]!r}") from None
    if not isinstance(value, str):
        raise DataError(f"line {number}: expected text in the field '{field}', got {value!r}")
    return value.encode("utf-8", "replace").decode("utf-8"), row  # JSON can spell half a character
