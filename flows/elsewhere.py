"""The coordinator's side of stages on other machines: which worker of the run's Dask cluster gets a stage, and what comes back."""

import contextlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flows import attempts
from flows.attempts import Tell
from flows.exchange import Item, Recipe, bring, commit_of, push, read_recipe
from flows.graph import Stage
from flows.machines import TOPIC, Order, end_order, machine, whereabouts
from flows.repository import Work
from flows.runners import open_cluster, read_runner
from flows.running import StageError

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner

LOOK_EVERY = 0.5
WORKER_WITHIN_S = float(os.environ.get("PRICECUT_DASK_WORKER_WITHIN", "60"))
"""Seconds a run waits for a worker where none is left."""


@contextlib.contextmanager
def elsewhere() -> Iterator["Elsewhere | None"]:
    """Give the workers on which a run's stages run; None where they run in threads of this process' machine."""
    runner = read_runner()
    with open_cluster(runner) as dask:
        workers = Elsewhere(dask, runner.resources, runner.partition_rows) if dask else None
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
    partition_rows : int
        Rows of the partitions that stages may hand to the cluster in their turn.
    """

    dask: "DaskTaskRunner"
    resources: list[str]
    partition_rows: int
    _busy: Counter[str] = field(default_factory=Counter)
    _given: Counter[str] = field(default_factory=Counter)
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
        order = _order(stage, work, recipe, self.partition_rows)
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
        homes: dict[str, list[str]] = self.dask.client.run(whereabouts, workers=list(workers), on_error="ignore")
        if not homes:
            raise StageError(
                stage.label, 2, "no Dask worker can import pricecut; start them in a clone, by its own .venv/bin/dask"
            )
        before = _noted(stage.address)
        with self._guard:
            # Where the same clone has several workers, and where none has run it, the one with the fewest stages, now and so far.
            chosen = min(homes, key=lambda at: (homes[at] != before, self._busy[at], self._given[at]))
            self._busy[chosen] += 1
            self._given[chosen] += 1
        _note(stage.address, homes[chosen])
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
        except Exception as error:  # whatever Dask or Prefect raises
            raise refusal(stage, error) from error

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


def refusal(stage: Stage, error: Exception) -> StageError:
    """Return what to say of an error that Dask or Prefect raised: what to do, where that is known."""
    said = " ".join(str(error).split())
    if "deserialization" in said or isinstance(error, ImportError):
        why = "the Dask scheduler or a worker runs in another environment; start them again, by the .venv/bin/dask of an up-to-date clone"
        return StageError(stage.label, 2, f"{why} ({said})")
    if "reach API" in said or "connection" in said.lower():
        why = "a Dask worker does not reach the Prefect server; set PREFECT_API_URL, here, to an address that workers reach too"
        return StageError(stage.label, 2, f"{why} ({type(error).__name__}: {said})")
    return StageError(stage.label, 1, f"a Dask worker could not run it: {type(error).__name__}: {said}")


def _task(label: str) -> Any:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(name="on a worker", task_run_name=f"{label} on a worker", cache_policy=NO_CACHE, persist_result=False)
    def on_worker(order: dict[str, Any]) -> dict[str, Any]:
        # Imported, and not sent along: what a worker runs stands in its own module, where it can be ended.
        from flows import machines

        return machines.carry_out(order)

    return on_worker


def _order(stage: Stage, work: Work, recipe: Recipe, rows: int) -> Order:
    dvcs = {name: value for name, value in work.environment.items() if name.startswith("DVC_")}
    told = Work(work.commands, work.folder, dvcs, work.outputs, work.inputs)
    root = Path.cwd()
    here, timeout = str(root), stage.contract.timeout
    return Order(uuid4().hex, stage.address, here, machine(), commit_of(root), recipe, told, timeout, rows)


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
