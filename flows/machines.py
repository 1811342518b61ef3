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
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextvars import Context, copy_context
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flows import attempts
from flows.attempts import Tell
from flows.exchange import Item, Recipe, bring, commit_of, difference, push, read_recipe, written_by
from flows.graph import Stage
from flows.repository import Repository, Work
from flows.runners import open_cluster, read_runner
from flows.running import StageError, bring_up_to_date, end_running
from ledger.errors import DataError, PricecutError

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner

HOME = "PRICECUT_HOME"
"""Names a worker's clone; where it is not set, a worker of the coordinator's machine works in the coordinator's."""
TOPIC = "pricecut"
LOOK_EVERY = 0.5
WORKER_WITHIN_S = float(os.environ.get("PRICECUT_DASK_WORKER_WITHIN", "60"))
"""Seconds a run waits for a worker where none is left."""

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
    """

    id: str
    address: str
    root: str
    machine: str
    commit: str
    recipe: Recipe
    work: Work
    timeout: float | None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Order":
        """Read what `as_json` wrote."""
        recipe = document["recipe"] | {"inputs": tuple(Item(**item) for item in document["recipe"]["inputs"])}
        return cls(**document | {"recipe": Recipe(**recipe), "work": Work(**document["work"])})


@contextlib.contextmanager
def elsewhere() -> Iterator["Elsewhere | None"]:
    """Give the workers on which a run's stages run; None where they run in threads of this process' machine."""
    runner = read_runner()
    with open_cluster(runner) as dask:
        workers = Elsewhere(dask, runner.resources) if dask else None
        try:
            yield workers
        except BaseException:
            if workers:
                workers.end()
            raise


@dataclass
class Elsewhere:
    """The workers of a run's cluster.

    Attributes
    ----------
    dask : DaskTaskRunner
        Started.
    resources : list of str
        Pools whose stages go only to workers that offer a resource of that name.
    """

    dask: "DaskTaskRunner"
    resources: list[str]
    _busy: Counter[str] = field(default_factory=Counter)
    _tells: dict[str, Tell] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _flow: Context = field(default_factory=copy_context)

    def __post_init__(self) -> None:
        """Hear what the workers say."""
        self.dask.client.subscribe_topic(TOPIC, self._hear)

    def run(self, stage: Stage, work: Work, tell: Tell) -> None:
        """Run a stage on one of the workers, and bring what it wrote into this clone.

        Parameters
        ----------
        stage : Stage
            Its outputs have been removed.
        work : Work
            What running it takes.
        tell : callable
            Takes each line that it says, as it comes.

        Raises
        ------
        StageError
            If it failed, or no worker could run it.
        """
        recipe = read_recipe(stage.address)
        order = _order(stage, work, recipe)
        worker = self._chosen(stage)
        with self._heard(order.id, tell), self._counted(worker):
            push(recipe.inputs)
            answer = self._answer(stage, order, worker)
        if "error" in answer:
            raise StageError(stage.label, answer["code"], answer["error"])
        bring(Item(**item) for item in answer["outputs"])

    def end(self) -> None:
        """End what runs on the workers for this run."""
        for order in list(self._tells):
            self.dask.client.run(end_order, order, on_error="ignore")

    def _chosen(self, stage: Stage) -> str:
        """Return a worker: of the clone where the stage ran last, which has its outputs, or may still be running it."""
        pool = stage.contract.pool
        workers = {
            address: info
            for address, info in self.dask.client.scheduler_info(n_workers=-1)["workers"].items()
            if pool not in self.resources or pool in info["resources"]
        }
        if not workers:
            offers = f" that offers '{pool}' (`dask worker --resources {pool}=1`)" if pool in self.resources else ""
            raise StageError(stage.label, 2, f"the Dask cluster has no worker{offers}; start one")
        homes = self.dask.client.run(whereabouts, workers=list(workers), on_error="ignore")
        before = _noted(stage.address)
        with self._guard:
            # Where the same clone has several workers, and where none has run it, the one with the fewest stages.
            chosen = min(workers, key=lambda address: (homes.get(address) != before, self._busy[address]))
            self._busy[chosen] += 1
        _note(stage.address, homes.get(chosen))
        return chosen

    def _answer(self, stage: Stage, order: Order, worker: str) -> dict[str, Any]:
        from distributed import KilledWorker

        client = self.dask.client
        # From the flow's context, and not the stage's: Prefect sends the latter along, with all that the stage's task was given.
        future = self._flow.copy().run(self._submit, stage, order, worker)
        alone = time.monotonic()
        while not future.wrapped_future.done():
            future.wait(timeout=LOOK_EVERY)
            if client.status != "running":
                raise StageError(stage.label, 2, "the Dask scheduler was lost; start it again, then this run")
            if client.nthreads():
                alone = time.monotonic()
            elif time.monotonic() - alone > WORKER_WITHIN_S:
                raise StageError(stage.label, 2, "every Dask worker was lost; start them again, then this run")
        try:
            answer: dict[str, Any] = future.result()
            return answer
        except KilledWorker as error:
            raise StageError(
                stage.label,
                2,
                f"workers died one after another while they ran it, {error.last_worker.address} the last; memory may have run out",
            ) from None
        except Exception as error:
            raise StageError(
                stage.label, 1, f"a Dask worker could not run it: {type(error).__name__}: {error}"
            ) from error

    def _submit(self, stage: Stage, order: Order, worker: str) -> Any:
        from dask.base import annotate
        from prefect.context import FlowRunContext
        from prefect.settings import PREFECT_API_URL, temporary_settings

        # A server that was started for this run alone has an address that workers of this machine can reach too.
        flow = FlowRunContext.get()
        server = {PREFECT_API_URL: str(flow.client.api_url)} if flow else {}
        pool = stage.contract.pool
        needed = {"resources": {pool: 1}} if pool in self.resources else {}
        with temporary_settings(updates=server), annotate(workers=[worker], allow_other_workers=True, **needed):
            return self.dask.submit(_task(stage.label), {"order": order.as_json()})

    @contextlib.contextmanager
    def _heard(self, order: str, tell: Tell) -> Iterator[None]:
        self._tells[order] = tell
        try:
            yield
        finally:
            self._tells.pop(order, None)

    @contextlib.contextmanager
    def _counted(self, worker: str) -> Iterator[None]:
        try:
            yield
        finally:
            with self._guard:
                self._busy[worker] -= 1

    def _hear(self, event: tuple[float, Any]) -> None:
        order, line = event[1]
        if order in self._tells:
            self._tells[order](line)


def _task(label: str) -> Any:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(name="on a worker", task_run_name=f"{label} on a worker", cache_policy=NO_CACHE, persist_result=False)
    def on_worker(order: dict[str, Any]) -> dict[str, Any]:
        # Imported, and not sent along: what a worker runs stands in its own module, where it can be ended.
        from flows import machines

        return machines.carry_out(order)

    return on_worker


def _order(stage: Stage, work: Work, recipe: Recipe) -> Order:
    dvcs = {name: value for name, value in work.environment.items() if name.startswith("DVC_")}
    told = Work(work.commands, work.folder, dvcs, work.outputs, work.inputs)
    root = Path.cwd()
    return Order(
        uuid4().hex, stage.address, str(root), machine(), commit_of(root), recipe, told, stage.contract.timeout
    )


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
        command = [sys.executable, "-m", __name__, str(answer), *(["--in-place"] if in_place else [])]
        process = subprocess.Popen(
            command,
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"PYTHONUNBUFFERED": "1", "PRICECUT_DASK_ADDRESS": worker.scheduler.address},
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
    try:
        bring_up_to_date(Repository(), read_graph()[order.address], _say)
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
    folder = attempts.folder_of(order.address)
    attempt = attempts.find(folder)  # of a worker that died
    supervisor = attempts.supervisor_of(attempt) if attempt else None
    if attempt is None or (supervisor is None and not attempts.is_finished(attempt)):
        work, environment = order.work, os.environ | order.work.environment
        attempt, process = attempts.start(
            folder, work.commands, work.folder, environment, work.outputs, work.inputs, order.timeout
        )
        supervisor = process.pid
    try:
        code = attempts.follow(attempt, supervisor, _say) if supervisor else 0
    except BaseException:
        attempts.stop(attempt)
        raise
    if code:
        attempts.forget(folder)
        raise StageError(order.address, code, f"exited with {code} on {platform.node()}")
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
    with contextlib.suppress(
        BrokenPipeError
    ):  # the worker was killed; what it started goes on, and the next run finds it
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _note(address: str, home: list[str] | None) -> None:
    """Note where a stage runs, for the next run."""
    path = attempts.folder_of(address) / "worker.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(home), encoding="utf-8")


def _noted(address: str) -> list[str] | None:
    try:
        noted: list[str] = json.loads((attempts.folder_of(address) / "worker.json").read_text(encoding="utf-8"))
        return noted
    except (FileNotFoundError, ValueError):
        return None


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
