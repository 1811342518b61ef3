"""What serving a model holds in memory: a process of its own answers texts and says its peak."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from training.runtime import load

MOST_TEXTS = 64
MOST_SECONDS = 120


def serving_memory(folder: Path, texts: Sequence[str], threads: int) -> int | None:
    """Return the peak resident bytes of a process that loads a model, and answers texts one by one and in batches of 64.

    Python, NumPy and the runtime are in it: what a replica needs. None where the process fails.
    """
    given = json.dumps({"folder": str(folder.resolve()), "threads": threads, "texts": list(texts[:MOST_TEXTS])})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "training.serving_memory"]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, check=True, env=environment, timeout=MOST_SECONDS
        )
        return int(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        return None


def _serve() -> None:
    given = json.load(sys.stdin)
    classifier = load(Path(given["folder"]), given["threads"])
    for text in given["texts"]:
        classifier.predict([text])
    classifier.predict(given["texts"], 64)
    # getrusage's peak is that of the process which started this one, where that was larger (execve(2) keeps it).
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sys.stdout.write(str(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))))


if __name__ == "__main__":
    _serve()
