"""What goes wrong around DVC: a full or read-only disk, corrupted objects, locks and databases, a lost remote."""

import sqlite3
from contextlib import closing
from pathlib import Path


def is_sound_state(folder: Path) -> bool:
    """Whether DVC's state databases in a folder, where there are any, can be read."""
    for path in folder.rglob("cache.db"):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
                database.execute("SELECT count(*) FROM Settings").fetchone()
        except sqlite3.Error:
            return False
    return True
