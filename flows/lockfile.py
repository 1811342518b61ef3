"""dvc.lock as text: one entry replaced, all others as they were, in the order of a serial `dvc repro`, written whole or not at all.

DVC parses and writes the whole file after each stage, in place: slow where stages are many, and a kill in the middle leaves half a file.
"""

import itertools
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ledger.errors import DataError

HEAD = "schema: '2.0'\nstages:\n"
_ENTRY = re.compile(r"^  (?=\S)", re.MULTILINE)
_STAGES = re.compile(r"^stages:[^\S\n]*\n", re.MULTILINE)
_TOP = re.compile(r"^(?=\S)", re.MULTILINE)


def split(text: str, path: Path) -> tuple[str, dict[str, str], str]:
    """Split dvc.lock into what stands before its stages, the text of each stage's entry, and what stands after.

    Parameters
    ----------
    text : str
        The file's text; empty where there is none yet.
    path : Path
        For the message.

    Raises
    ------
    DataError
        If it is not what DVC writes: cut off, merged badly, or edited by hand.
    """
    if not text.strip():
        return HEAD, {}, ""
    try:
        document = parse(text)
        named = list((document.get("stages") or {}) if document["schema"] else ())
    except (yaml.YAMLError, KeyError, AttributeError, TypeError) as error:
        raise unreadable(path, " ".join(str(error).split())) from None
    start = _STAGES.search(text)
    if start is None:
        if named or "stages" in document:
            raise unreadable(path, "its stages are not written as DVC writes them")
        return text.rstrip("\n") + "\nstages:\n", {}, ""
    end = _TOP.search(text, start.end())
    body, after = (text[start.end() : end.start()], text[end.start() :]) if end else (text[start.end() :], "")
    marks = [mark.start() for mark in _ENTRY.finditer(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise([*marks, len(body)])]
    if len(pieces) != len(named) or (marks and body[: marks[0]].strip()):
        raise unreadable(path, "its stages are not written as DVC writes them")
    return text[: start.end()], dict(zip(named, pieces, strict=True)), after


def parse(text: str) -> Any:
    """Return what a dvc.lock says, by the fastest loader there is; raise a YAMLError where it is cut off."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def unreadable(path: Path, why: str) -> DataError:
    """Return what to say of a dvc.lock that cannot be read."""
    return DataError(
        f"{path}: cannot be read ({why}); expected the file as DVC writes it; "
        f"bring the last one back with `git checkout {path}`: what has run since is found in DVC's run-cache"
    )


def join(head: str, entries: Mapping[str, str], after: str, order: Iterable[str]) -> str:
    """Write the entries in a given order; those that it does not name come after, as they stood."""
    first = [name for name in order if name in entries]
    rest = [name for name in entries if name not in set(first)]
    return head + "".join(_closed(entries[name]) for name in (*first, *rest)) + after


def _closed(entry: str) -> str:
    return entry if entry.endswith("\n") else entry + "\n"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it, whenever, finds the old text or the new one; on the disk before this returns."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
