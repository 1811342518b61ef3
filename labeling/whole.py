"""Files that are there whole or not at all, whoever reads or writes them beside."""

import os
import threading
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and its folder where that is missing; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_native_id()}.part")
    part.write_bytes(content)
    part.replace(path)
