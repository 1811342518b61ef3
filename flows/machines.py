"""Runs a stage on a worker of a Dask cluster, in the worker's own clone; the coordinator's clone ends as if it had run there.

The coordinator sends an order: the stage, what it is made of, the hashes of its inputs. The worker compares its clone, brings the
inputs from DVC's remote, runs the stage as any run does, sends the outputs to the remote and answers with their hashes. It does so
in a process of its own (``python -m flows.machines``, in its clone): a worker lives long, and its clone may be newer than it.
"""

import contextlib
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows import attempts
from flows.exchange import Item, Recipe, bring, commit_of, difference, push, read_recipe, written_by
from flows.heal import heal
from flows.repository import Repository, Work
from flows.running import bring_up_to_date, end_running, followed
from labeling.partitions import ADDRESS, ROWS
from ledger.errors import DataError, PricecutError

HOME = "PRICECUT_HOME"
"""Names a worker's clone; where it is not set, a worker of the coordinator's machine works in the coordinator's."""
TOPIC = "pricecut"

_children: dict[str, "subprocess.Popen[str]"] = {}


@dataclass(frozen=True)
class Order:
    """What a worker is asked to do. It holds no value of the environment, in which secrets stand.

    Attributes
    ----------
    id : str
        Of this order.
    address, root, machine, commit : str
        The stage; the coordinator's clone, machine and git commit.
    recipe : Recipe
        The stage as it is in the coordinator's clone.
    work : Work
        How it is run where the worker works in the coordinator's clone.
    timeout : float or None
        Seconds, for the same.
    partition_rows : int
        Rows of the partitions that the stage may hand to the cluster in its turn.
    """

    id: str
    address: str
    root: str
    machine: str
    commit: str
    recipe: Recipe
    work: Work
    timeout: float | None
    partition_rows: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Order":
        """Read what `as_json` wrote."""
        recipe = document["recipe"] | {"inputs": tuple(Item(**item) for item in document["recipe"]["inputs"])}
        return cls(**document | {"recipe": Recipe(**recipe), "work": Work(**document["work"])})


def machine() -> str:
    """Return what tells this machine, since it was started, from any other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def whereabouts() -> list[str]:
    """Return a worker's machine and clone."""
    return [platform.node(), os.environ.get(HOME, "")]


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out an order, in a worker: by a process in its clone, whose lines go to the coordinator."""
    from distributed import get_worker, secede

    home = Path(os.environ.get(HOME) or order["root"]).resolve()
    in_place = order["machine"] == machine() and home == Path(order["root"]).resolve()
    if not in_place and HOME not in os.environ:
        said = f"the Dask worker on {platform.node()} has no clone to work in; start it with {HOME} set to one"
        return {"error": said, "code": 2}
    if not home.is_dir():
        return {"error": f"the Dask worker on {platform.node()}: {HOME}={home}: no such folder", "code": 2}
    worker = get_worker()
    secede()  # the stage's own partitions may need this thread
    with tempfile.TemporaryDirectory(prefix="pricecut-") as folder:
        answer = Path(folder) / "answer.json"
        partitioned = {ADDRESS: worker.scheduler.address, ROWS: str(order["partition_rows"])}
        command = [sys.executable, "-m", __name__, str(answer), *(["--in-place"] if in_place else [])]
        process = subprocess.Popen(
            command,
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | partitioned | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        _children[order["id"]] = process
        last = ""
        try:
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                json.dump(order, process.stdin)
                process.stdin.close()
            for line in process.stdout:
                last = line.rstrip() or last
                worker.log_event(TOPIC, (order["id"], line.rstrip()))
            code = process.wait()
        finally:
            _children.pop(order["id"], None)
        if answer.exists():
            document: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
            return document
    return {"error": f"ended with {code} on {platform.node()} without an answer; {last}", "code": 1}


def end_order(order: str) -> None:
    """End what a worker does for an order, if it is this worker's."""
    process = _children.get(order)
    if process is not None:
        process.terminate()


def run_in_clone(order: Order) -> list[Item]:
    """Run an order's stage in the clone of the working directory, and send its outputs to DVC's remote.

    Raises
    ------
    DataError
        If the clone is not as the coordinator's.
    StageError
        If the stage failed.
    """
    from flows.graph import read_graph

    here = f"the clone {platform.node()}:{Path.cwd()}"
    why = difference(order.recipe, read_recipe(order.address, inputs=False))
    if why:
        raise DataError(
            f"{here} (at {commit_of(Path.cwd())}) is not as the coordinator's (at {order.commit}): {why}; bring both to one commit"
        )
    with _alone():
        bring(order.recipe.inputs)
    repository = Repository()
    with repository.locked() as repo:
        for line in heal(repo):
            _say(line)
    try:
        bring_up_to_date(repository, read_graph()[order.address], _say)
    except BaseException:
        end_running()
        raise
    items = written_by(order.address)
    push(items)
    return list(items)


def run_in_place(order: Order) -> list[Item]:
    """Run an order's stage in the coordinator's own clone, where the coordinator holds it, and keeps what it writes.

    Raises
    ------
    StageError
        If the stage failed.
    """
    from flows.graph import read_graph

    folder, process = attempts.folder_of(order.address), None
    attempt = attempts.find(folder)  # of a worker that died
    supervisor = attempts.supervisor_of(attempt) if attempt else None
    if attempt is None or (supervisor is None and not attempts.is_finished(attempt)):
        work, environment = order.work, os.environ | order.work.environment
        attempt, process = attempts.start(
            folder, work.commands, work.folder, environment, work.outputs, work.inputs, order.timeout
        )
        supervisor = process.pid
    failure = followed(read_graph()[order.address], attempt, process, supervisor, _say)
    if failure:
        attempts.forget(folder)
        raise failure
    return []


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold what two stages in one clone may both bring."""
    path = Path(".pricecut/exchange.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    # A worker that was killed hears nothing more; what it started goes on, and the next run finds it.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class _Ended(BaseException):
    """The coordinator's run was ended."""


def _end(*_: object) -> None:
    raise _Ended


def main() -> None:
    """Carry out the order on standard input: the answer goes to the file that is the first argument, what it says to standard output."""
    order = Order.from_json(json.load(sys.stdin))
    signal.signal(signal.SIGTERM, _end)
    try:
        items = run_in_place(order) if "--in-place" in sys.argv else run_in_clone(order)
        answer: dict[str, Any] = {"outputs": [asdict(item) for item in items]}
    except PricecutError as error:
        answer = {"error": str(error), "code": error.exit_code}
    except _Ended:
        answer = {"error": "was ended with the run", "code": 1}
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
