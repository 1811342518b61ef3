"""What each stage of a made project does (`benchmarks.projects`): a copy of this file is the project's only code.

``python -I -S work.py NAME HOW AMOUNT FAILS KIND SEED [NEED]...`` writes ``out/NAME``: bytes that follow from the name, the seed and what
it reads, and from nothing else. Half of them stand there before the work, so that a kill leaves a half-written output.

- HOW: ``sleep`` or ``child`` (a process that it starts sleeps) for AMOUNT seconds, ``compute`` for AMOUNT rounds.
- FAILS: how often it fails before it goes through, counted in the folder ``$PRICECUT_MADE_FAILURES``; never where that is not set.
- KIND: ``file``, ``folder``, or ``metric`` (a file that DVC does not cache).

It writes a line to the file ``$PRICECUT_MADE_JOURNAL`` as its first act, and one as its last.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

JOURNAL = "PRICECUT_MADE_JOURNAL"
FAILURES = "PRICECUT_MADE_FAILURES"


def read(path: Path) -> bytes:
    """Return all bytes of a file, or of a folder's files in order."""
    if not path.is_dir():
        return path.read_bytes()
    return b"".join(part.name.encode() + read(part) for part in sorted(path.iterdir()))


def note(event: str, name: str, inputs: str) -> None:
    """Append a line to the journal, in one write."""
    if JOURNAL in os.environ:
        line = {"event": event, "stage": name, "inputs": inputs, "pid": os.getpid(), "at": time.time()}
        handle = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (json.dumps(line) + "\n").encode())
        os.close(handle)


def must_fail(name: str, times: int) -> bool:
    """Whether this attempt is one of the first that must fail; it is counted."""
    if FAILURES not in os.environ:
        return False
    with Path(os.environ[FAILURES], name).open("ab") as stream:
        stream.write(b".")
        return stream.tell() <= times


def work(how: str, amount: float, digest: str) -> None:
    """Take the time that the stage is meant to take."""
    if how == "compute":
        hashlib.pbkdf2_hmac("sha256", digest.encode(), b"made", int(amount))
    elif how == "child":
        code = os.spawnvp(os.P_WAIT, "sleep", ["sleep", str(amount)])
        if code:
            sys.exit(f"its child ended with {code}")
    else:
        time.sleep(amount)


def main() -> None:
    """Do it."""
    name, how, amount, fails, kind, seed, *needs = sys.argv[1:]
    parts = [name.encode(), seed.encode(), *(read(Path(need)) for need in needs)]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    note("start", name, digest)
    sys.stdout.write(f"{name}: {how} {amount}\n")
    sys.stdout.flush()
    content = hashlib.sha256(digest.encode()).digest() * (32 + int(digest[:2], 16))
    out = Path("out", name)
    files = [out / part for part in ("first", "second", "third")] if kind == "folder" else [out]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    files[0].write_bytes(content[: len(content) // 2])
    if must_fail(name, int(fails)):
        sys.exit(f"{name}: fails, as it was told to")
    work(how, float(amount), digest)
    for number, file in enumerate(files):
        file.write_bytes(content + bytes([number]))
    note("end", name, digest)
    os._exit(0)  # the line above is the last act: nothing of Python's own end comes after it


if __name__ == "__main__":
    main()
