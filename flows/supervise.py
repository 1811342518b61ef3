"""Runs the commands of one attempt at a stage and outlives whoever asked for it. Run as a script, with the standard library only.

It leaves, in the attempt's folder, ``ended.json``: the exit code, and where that is 0 the signature of every output, after these are on the
disk. So the run that comes after a kill knows a finished output from a half-written one, and does no finished work again.

Putting outputs on the disk takes a while. Killed meanwhile, it has left ``exited``, its first act after the commands: in which start of
the machine they ended with 0, and when. That is proof enough as long as the machine has not gone down since.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than all the rest
    from typing import Any

TIMED_OUT = 124
REFUSED = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
PROCESS_KILLED = 128
LEFT_ALONE = 0.05
PATIENCE = 60


def signatures(paths: list[str]) -> list[list[object]]:
    """Return ``[path, size, mtime in ns, inode]`` for every file of some files and folders; None for what is missing."""
    found: list[list[object]] = []
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            for folder, names, files in os.walk(path):
                names.sort()
                found.append([folder, -1, 0, 0])
                found.extend(_signature(os.path.join(folder, name)) for name in sorted(files))
        else:
            found.append(_signature(path))
    return found


def _signature(path: str) -> list[object]:
    try:
        stat = os.stat(path)
    except OSError:
        return [path, None, None, None]
    return [path, stat.st_size, stat.st_mtime_ns, stat.st_ino]


def sync(paths: list[str]) -> bool:
    """Put files and the folders that name them on the disk; False, having said why, where the disk did not take one."""
    for path in paths + sorted({os.path.dirname(path) or "." for path in paths}):
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno in REFUSED:
                print(f"{path}: written, but the disk did not take it ({error.strerror})")
                return False
        finally:
            os.close(handle)
    return True


def run(attempt: "dict[str, Any]") -> int:
    """Run the commands one after the other; return the exit code of the first that fails, or 0."""
    left = attempt["timeout"]
    process: subprocess.Popen[bytes] | None = None

    def end(*_: object) -> None:
        if process is not None:
            _end_group(process.pid)
        os._exit(PROCESS_KILLED + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for command in attempt["commands"]:
        # A group of its own, so that a timeout ends the command and all it has started, and not this process.
        process = subprocess.Popen(command, cwd=attempt["folder"], stdin=subprocess.DEVNULL, process_group=0)
        try:
            code = process.wait(timeout=left)
        except subprocess.TimeoutExpired:
            _end_group(process.pid)
            process.wait()
            return TIMED_OUT
        if code:
            return code if code > 0 else PROCESS_KILLED - code
    return 0


def _end_group(group: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for turn in range(PATIENCE):
            try:
                os.waitpid(group, os.WNOHANG)
            except ChildProcessError:
                pass
            try:
                os.killpg(group, number if turn == 0 else 0)
            except ProcessLookupError:
                return
            time.sleep(LEFT_ALONE)


def leave(folder: str, code: int, found: list[list[object]]) -> None:
    """Write ``ended.json``, whole or not at all."""
    path = os.path.join(folder, "ended.json")
    with open(path + ".tmp", "w", encoding="utf-8") as stream:
        json.dump({"code": code, "outputs": found}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(path + ".tmp", path)


def machine_start() -> "str | None":
    """Return what tells one start of this machine from another; None where the system has no such thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return None


def main() -> int:
    """Run the attempt whose folder is the argument; its output goes where this process' does."""
    folder = sys.argv[1]
    with open(os.path.join(folder, "attempt.json"), encoding="utf-8") as stream:
        attempt = json.load(stream)
    mark = os.open(os.path.join(folder, "exited"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    start = machine_start()
    code = run(attempt)
    if code == 0 and start is not None:
        os.write(mark, f"{start} {time.time_ns()}\n".encode())  # one write: there whole, or not at all
    sys.stdout.flush()
    found = signatures(attempt["outputs"]) if code == 0 else []
    if not sync([str(entry[0]) for entry in found]):
        os.unlink(os.path.join(folder, "exited"))
        code = 1
    sys.stdout.flush()
    leave(folder, code, found)
    return code


if __name__ == "__main__":
    sys.exit(main())
