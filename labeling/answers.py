"""A language model's answers on disk: what was answered once is not paid for twice."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labeling.whole import write_whole


def answer_file(folder: Path, address: str, body: Mapping[str, Any]) -> Path:
    """Name the file of an answer by a digest of where it was asked and what: address, model, instructions and text."""
    asked = json.dumps([address, body], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
    return folder / digest[:2] / f"{digest}.json"


def read_answer(file: Path) -> str | None:
    """Read an answer, or None where none stands that can be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))["content"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content if isinstance(content, str) else None


def write_answer(content: str, file: Path) -> None:
    """Write an answer; a reader never sees half of it."""
    write_whole(file, json.dumps({"content": content}, ensure_ascii=False).encode())
