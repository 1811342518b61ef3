"""Keeps a function's votes by fingerprint: an accelerator, never a source of truth.

A file holds one function's votes: the digest of what follows, then a line of JSON, then the votes, a byte each, deflated. What is
missing or damaged is computed again.
"""

import hashlib
import json
import logging
import os
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labeling.voting.votes import Votes
from labeling.whole import write_whole

logger = logging.getLogger(__name__)

SUFFIX = ".votes"
DIGEST = 32
ABANDONED_S = 3600.0
DEFLATE_LEVEL = 1


@dataclass(frozen=True)
class VoteCache:
    """A folder of votes.

    Attributes
    ----------
    folder : Path
        Where they stand; neither git nor DVC tracks it.
    limit : int
        Bytes above which those longest unused are dropped.
    """

    folder: Path
    limit: int

    def get(self, key: str, height: int) -> Votes | None:
        """Return the votes kept under a key, or None where there are none for so many rows, whole and undamaged."""
        path = self._path(key)
        try:
            written = path.read_bytes()
        except OSError:
            return None
        body = written[DIGEST:]
        if _digest(body) != written[:DIGEST]:
            logger.warning("%s: damaged; its function votes again", path)
            path.unlink(missing_ok=True)
            return None
        head, _, votes = body.partition(b"\n")
        known = json.loads(head)
        column = np.frombuffer(zlib.decompress(votes), dtype=np.int8)
        if len(column) != height:
            return None
        with suppress(OSError):  # another stage may have dropped it meanwhile
            os.utime(path)
        return Votes(column, known["errors"], known["first_error"])

    def put(self, key: str, votes: Votes) -> None:
        """Keep votes; a reader never sees half of them. A folder that cannot be written to is no fault."""
        path = self._path(key)
        if path.exists():
            return
        head = json.dumps({"errors": votes.errors, "first_error": votes.first_error}).encode()
        body = head + b"\n" + zlib.compress(votes.column.astype(np.int8).tobytes(), DEFLATE_LEVEL)
        try:
            write_whole(path, _digest(body) + body)
        except OSError as error:
            logger.warning("%s: votes are not kept: %s", self.folder, error)

    def prune(self) -> None:
        """Drop the votes longest unused until the folder is within its limit, and what a stage that was killed left half."""
        found = []
        for path in self.folder.glob("*/*"):
            try:
                state = path.stat()
                if path.suffix == SUFFIX:
                    found.append((state.st_mtime, state.st_size, path))
                elif time.time() - state.st_mtime > ABANDONED_S:
                    path.unlink()
            except OSError:
                continue
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}{SUFFIX}"


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=DIGEST).digest()
