"""`pricecut predict`: texts in, JSON lines out."""

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.root import enter_root
from flows.shell import AppName
from ledger.errors import DataError
from ledger.places import Places


def predict(
    app: AppName,
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="A text a line; '-' reads standard input.")] = "-",
    field: Annotated[
        str | None, typer.Option("--field", help="The lines are JSON objects; the text stands in this field of each.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Classify texts with the published model: JSON lines with text, label and probabilities.

    Neither TensorFlow nor torch is loaded.
    """
    from training.runtime import load

    caller = enter_root()
    classifier = load(Places(app).published, threads)
    for texts in batches(read_lines(file, caller), field):
        lines = [
            answer(text, row, classifier.labels) for text, row in zip(texts, classifier.predict(texts), strict=True)
        ]
        try:
            print("\n".join(lines), flush=True)
        except BrokenPipeError:  # `pricecut predict ... | head`: whoever reads has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return


def answer(text: str, probabilities: Iterable[float], labels: tuple[str, ...]) -> str:
    """Return one answer as a line of JSON."""
    shares = {label: round(float(p), 6) for label, p in zip(labels, probabilities, strict=True)}
    likeliest = max(shares, key=lambda label: shares[label])
    return json.dumps({"text": text, "label": likeliest, "probabilities": shares}, ensure_ascii=False)


def read_lines(file: str, caller: Path) -> Iterator[str]:
    """Yield the lines of a file, as seen from where the command was called, or of standard input."""
    try:
        if file == "-":
            if isinstance(sys.stdin, io.TextIOWrapper):  # whatever the locale says
                sys.stdin.reconfigure(encoding="utf-8", errors="strict")
            yield from sys.stdin
        else:
            with (caller / file).open(encoding="utf-8") as lines:
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


def batches(lines: Iterator[str], field: str | None, size: int = 256) -> Iterator[list[str]]:
    """Gather lines into batches of texts; empty lines are passed over."""
    batch: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        batch.append(text if field is None else field_of(text, field, number))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def field_of(line: str, field: str, number: int) -> str:
    """Return one field of a line of JSON."""
    try:
        value: Any = json.loads(line)[field]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise DataError(f"line {number}: expected a JSON object with the field '{field}', got {line[:60]!r}") from None
    if not isinstance(value, str):
        raise DataError(f"line {number}: expected text in the field '{field}', got {value!r}")
    return value.encode("utf-8", "replace").decode("utf-8")  # JSON can spell half a character
