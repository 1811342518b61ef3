"""Clears away what killed processes left in the repository: locks without an owner, halves of files. Never what may be a result."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from flows import attempts
from flows.lockfile import write_whole
from flows.objects import clear_halves

OURS = ("dvc", "pricecut", "supervise.py")
"""What the command line of a process says that may hold an entry of DVC's table of busy files."""


def heal(repo: Any) -> Iterator[str]:
    """Mend an open repository of DVC's whose lock the caller holds, and say what was mended.

    Parameters
    ----------
    repo : dvc.repo.Repo
        Nobody else of DVC's does its bookkeeping meanwhile.
    """
    root, table = Path(repo.root_dir), Path(repo.tmp_dir) / "rwlock"
    if _was_killed(root):
        for half in (*root.rglob(".dvc.lock.*.tmp"),):
            half.unlink(missing_ok=True)
        clear_halves(repo)
    yield from _mend_table(table)


def _was_killed(root: Path) -> bool:
    return any((folder / "attempt.json").exists() for folder in attempts.all_folders(root))


def _mend_table(table: Path) -> Iterator[str]:
    """Take entries without a living owner from DVC's table of busy files; write it anew where a kill left half of it."""
    try:
        text = table.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    try:
        document = json.loads(text)
        busy = {
            "write": {path: owner for path, owner in document.get("write", {}).items() if is_owner_alive(owner)},
            "read": {
                path: alive
                for path, owners in document.get("read", {}).items()
                if (alive := [owner for owner in owners if is_owner_alive(owner)])
            },
        }
    except (ValueError, AttributeError, TypeError, KeyError):
        write_whole(table, "{}")
        yield f"{os.path.relpath(table)}: a process of DVC's was killed while it wrote this; written anew, empty"
        return
    kept = {mode: entries for mode, entries in busy.items() if entries}
    if kept != document and (kept or any(document.values())):
        write_whole(table, json.dumps(kept))
        yield f"{os.path.relpath(table)}: entries of processes that have died were taken out"


def is_owner_alive(owner: dict[str, Any]) -> bool:
    """Whether the process that an entry names lives, and is one that may hold it, not another with its number."""
    try:
        process = psutil.Process(int(owner["pid"]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        said = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return any(word in said for word in OURS)
