"""The Prefect flow: one task for each stage of DVC's graph that has changed, side by side within the pools of ``params.yaml``."""

import queue
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.apps import registered_app, registered_apps
from flows.artifacts import publish_results
from flows.elsewhere import elsewhere
from flows.graph import Stage
from flows.heal import heal
from flows.nothing_new import FLOW, message_of, names_of, read_plan
from flows.pools import ALONE, check_pool, has_place, read_pools, slots_of
from flows.progress import progress
from flows.redaction import hide, hide_in_logs, refuse_leaks, refuse_secrets
from flows.repository import Outcome, Repository
from flows.running import Send, bring_up_to_date, end_running
from flows.slots import Slots, slots
from ledger.errors import PricecutError
from ledger.places import Places

AT_ONCE = 256
"""Threads; how many stages run is what the pools decide."""
LOOK_EVERY = 1.0
"""Seconds after which a run that waits for a stage can be interrupted."""
MENDED_BY_A_PERSON = 2

STATES = {outcome: "Completed" if outcome is Outcome.STARTED else outcome.value.capitalize() for outcome in Outcome}

RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=AT_ONCE)


@flow(name=FLOW, task_runner=RUNNER)
def run_pipeline(targets: list[str] | None = None) -> Any:
    """Bring apps up to date, from their sources to their reports.

    DVC decides what has to run; Prefect runs it, shows it and keeps its log.

    Parameters
    ----------
    targets : list of str or None
        Apps, stages as DVC names them, or pipeline files. None for all apps of the main pipeline, or all its stages where it has no apps.
    """
    hide_in_logs()
    try:
        return _bring_up_to_date(targets)
    except PricecutError as error:
        return Failed(message=hide(f"exit {error.exit_code}: {error}"))


def _bring_up_to_date(targets: list[str] | None) -> State[Any]:
    log = get_run_logger()
    refuse_secrets()
    repository, names = Repository(), names_of(targets)
    with repository.locked() as repo:
        for line in heal(repo):
            log.warning(line)
    plan = read_plan(repository, names)
    changed = repository.changed(plan)
    log.info("%s: %d stages, %d of them changed", ", ".join(names), len(plan), len(changed))
    if not changed:
        return Completed(message=message_of(names))

    with progress(len(plan)) as ended:
        failed, moved = _run_changed(repository, plan, changed, ended)
    if failed:
        return Failed(message="\n".join(failed))
    for name in set(names) & set(registered_apps()):
        refuse_leaks([Places(name).report.parent, registered_app(name).pipeline.with_suffix(".lock")])
        publish_results(name, moved)
    return Completed(message=f"up to date: {', '.join(names)}")


def _run_changed(
    repository: Repository, plan: dict[str, Stage], changed: set[str], note: Callable[[str], None]
) -> tuple[list[str], set[str]]:
    """Run what has changed, and what reads anything that moved; return the messages of stages that failed, the labels of those that moved.

    A stage is handed to Prefect when what it needs is there and its pool has a place, so that of those that could start
    the one with the highest priority does. One that runs alone lets nobody past who comes after it.
    """
    sizes = read_pools()
    for stage in plan.values():
        check_pool(stage, sizes)
    log = get_run_logger()
    order = {address: (-stage.contract.priority, place) for place, (address, stage) in enumerate(plan.items())}
    left, moved = dict(plan), dict[str, bool]()
    running: dict[str, PrefectFuture[Any]] = {}
    failed: dict[str, str] = {}
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    with slots(sizes) as held, elsewhere() as workers, _ends_what_it_started():
        while left or running:
            busy = Counter(plan[address].contract.pool for address in running)
            for address in sorted(
                (a for a, stage in left.items() if moved.keys() >= set(stage.needs)), key=order.__getitem__
            ):
                stage = left[address]
                if address not in changed and not any(moved[need] for need in stage.needs):
                    log.debug("%s: unchanged", stage.label)
                    moved[address] = False
                    note(stage.label)
                    del left[address]
                    continue
                if has_place(stage.contract.pool, busy, sizes):
                    running[address] = _submit(
                        repository, stage, address in changed, held, sizes, workers.run if workers else None
                    )
                    running[address].add_done_callback(partial(_note, ended, address))
                    busy[stage.contract.pool] += 1
                    del left[address]
                elif stage.contract.pool == ALONE:
                    break
            if not running:
                if any(moved.keys() >= set(stage.needs) for stage in left.values()):
                    continue  # what was unchanged has made way for others
                break
            address = _next(ended)
            future = running.pop(address)
            future.wait()
            note(plan[address].label)
            state = future.state
            if state.is_completed():
                moved[address] = bool(state.result())
            else:
                failed[address] = str(state.message)
    for stage in left.values():
        log.warning("%s: not run, as a stage that it needs has failed", stage.label)
    return list(failed.values()), {plan[address].label for address, ran in moved.items() if ran}


def _note(ended: "queue.SimpleQueue[str]", address: str, _: PrefectFuture[Any]) -> None:
    ended.put(address)


def _next(ended: "queue.SimpleQueue[str]") -> str:
    while True:
        try:
            return ended.get(timeout=LOOK_EVERY)
        except queue.Empty:
            continue


@contextmanager
def _ends_what_it_started() -> Iterator[None]:
    try:
        yield
    except BaseException:  # Ctrl-C, or a cancelled run: what was started must not run on
        end_running()
        raise


def _submit(
    repository: Repository, stage: Stage, surely: bool, held: Slots, sizes: dict[str, int], send: Send | None
) -> PrefectFuture[Any]:
    contract = stage.contract
    configured = stage_task.with_options(
        task_run_name=stage.label,
        retries=contract.retries,
        retry_delay_seconds=contract.retry_delay,
        retry_condition_fn=_is_worth_another_try,
        # No tags: Prefect would ask the server for a place of each tag's limit, one more request a stage that SQLite may refuse.
    )
    return configured.submit(
        stage.label, partial(_work, repository, stage, surely, held, slots_of(contract.pool, sizes), send)
    )


def _work(
    repository: Repository,
    stage: Stage,
    surely: bool,
    held: Slots,
    wanted: dict[str, int],
    send: Send | None,
    tell: Callable[[str], None],
) -> Outcome:
    full = f"all places of the pool '{stage.contract.pool}' are taken by other runs of this server: waiting"
    return bring_up_to_date(repository, stage, tell, lambda: held.place(wanted, lambda: tell(full)), surely, send)


@task(name="stage", cache_policy=NO_CACHE, persist_result=False)
def stage_task(stage: str, work: Callable[[Callable[[str], None]], Outcome]) -> State[bool]:
    """Run one stage; its result says whether its outputs may have moved."""
    try:
        outcome = work(get_run_logger().info)
    except PricecutError as failure:
        # A state, not an exception: the message is for its reader, a traceback of this process would tell nothing.
        return Failed(message=hide(f"exit {failure.exit_code}: {failure}"))
    return Completed(name=STATES[outcome], message=f"{stage}: {outcome.value}", data=outcome is not Outcome.UNCHANGED)


def _is_worth_another_try(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether trying a stage again may help: not where its message is for a person who has to mend something."""
    return not str(state.message).startswith(f"exit {MENDED_BY_A_PERSON}:")
