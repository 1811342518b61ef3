"""The last model that passed the gates, kept on this machine, for when none does.

DVC deletes ``models/<app>/published`` before `evaluate` runs, so a copy stands under ``.pricecut/published``, beside a
digest of every file. A copy that is not as it was left is not used.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from ledger.errors import CheckpointError
from training.artifact import read_card

DIGESTS_FILE = "digests.json"
MODEL_FOLDER = "model"


def keep(published: Path, kept: Path) -> None:
    """Keep a published model; a reader finds the earlier one or this one, never half of either."""
    part, old = (kept.with_suffix(f".{os.getpid()}.{what}") for what in ("part", "old"))
    for folder in (part, old):
        shutil.rmtree(folder, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copytree(published, part / MODEL_FOLDER)
    (part / DIGESTS_FILE).write_text(json.dumps(_digests(part / MODEL_FOLDER), indent=2) + "\n", encoding="utf-8")
    if kept.exists():
        kept.rename(old)
    part.rename(kept)
    shutil.rmtree(old, ignore_errors=True)


def find(kept: Path, labels: list[str]) -> Path | None:
    """Return the folder of the kept model; None where there is none, it was changed, or it answers other labels."""
    try:
        expected = json.loads((kept / DIGESTS_FILE).read_text(encoding="utf-8"))
        if _digests(kept / MODEL_FOLDER) != expected or read_card(kept / MODEL_FOLDER).labels != labels:
            return None
    except (OSError, ValueError, CheckpointError):
        return None
    return kept / MODEL_FOLDER


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
