"""The Prefect flow: one task for each stage of DVC's graph, side by side within the pools of ``params.yaml``."""

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.apps import main_apps, registered_app
from flows.graph import Stage, StageError, changed_stages, end_running, read_graph, run_stage, stages_of
from flows.pools import Pools, read_pools
from flows.results import as_markdown, read_results
from ledger.errors import PricecutError

AT_ONCE = 32
"""Threads that wait for a place in a pool; the pools decide how many stages run."""

RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=AT_ONCE)


@flow(name="pricecut", task_runner=RUNNER)
def run_pipeline(apps: list[str] | None = None) -> Any:
    """Bring apps up to date, from their sources to their reports.

    DVC decides what has to run; Prefect runs it, shows it and keeps its log.

    Parameters
    ----------
    apps : list of str or None
        None for all of the main pipeline's.
    """
    try:
        return _bring_up_to_date(apps)
    except PricecutError as error:
        return Failed(message=f"exit {error.exit_code}: {error}")


def _bring_up_to_date(apps: list[str] | None) -> State[Any]:
    log = get_run_logger()
    names = apps or main_apps()
    graph = read_graph()
    plan = {}
    for name in names:
        if name in graph:
            last, _, app = graph[name].label.partition("@")
            plan |= stages_of(graph, app, last)
        else:
            registered_app(name)
            plan |= stages_of(graph, name)
    changed = changed_stages(plan)
    log.info("%s: %d stages, %d of them changed", ", ".join(names), len(plan), len(changed))

    pools = read_pools()
    for stage in plan.values():
        pools.check(stage.label, stage.pool)
    futures: dict[str, PrefectFuture[Any]] = {}
    for address, stage in plan.items():
        run = stage_task.with_options(task_run_name=stage.label)
        upstream: list[Any] = [futures[need] for need in stage.needs]
        futures[address] = run.submit(stage, address in changed, pools, upstream)
    try:
        wait(list(futures.values()))
    except BaseException:  # Ctrl-C, or a cancelled run: what was started must not run on
        end_running()
        raise

    failed = [future.state for future in futures.values() if future.state.is_failed()]
    if failed:
        return Failed(message="\n".join(str(state.message) for state in failed))
    for name in (name for name in names if name not in graph):
        create_markdown_artifact(
            as_markdown(read_results(name)), key=name.replace("_", "-"), description=f"pricecut {name}"
        )
    return Completed(message=f"up to date: {', '.join(names)}")


@task(cache_policy=NO_CACHE, persist_result=False)
def stage_task(stage: Stage, changed: bool, pools: Pools, upstream: list[bool]) -> State[bool]:
    """Run one stage once those before it are done; its result says whether its outputs may have moved."""
    if not changed and not any(upstream):
        return Completed(name="Unchanged", data=False)
    with pools.place(stage.pool):
        try:
            moved = run_stage(stage.address, get_run_logger().info)
        except StageError as failure:
            # A state, not an exception: the message is for its reader, a traceback of this process would tell nothing.
            return Failed(message=f"exit {failure.exit_code}: {failure}")
    return Completed(data=moved)
