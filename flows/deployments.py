"""Schedules on a Prefect server: one deployment an app, of the flow that renews it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from flows.machines import HOME
from flows.waiting import FLOW
from ledger.errors import ConfigurationError

POOL = "pricecut"
ENTRYPOINT = "flows/scheduled.py:renew"


@dataclass(frozen=True)
class Schedule:
    """When an app is renewed.

    Attributes
    ----------
    app : str
        The app.
    cron, timezone : str
        Five fields, and the clock that they are read by.
    wait_for_review : int or None
        Seconds to wait for people's answers.
    """

    app: str
    cron: str
    timezone: str
    wait_for_review: int | None


@dataclass(frozen=True)
class Listed:
    """A schedule as it stands on the server.

    Attributes
    ----------
    schedule : Schedule
        When.
    active : bool
        Whether it is not paused.
    next_run : datetime or None
        When the next run is due.
    last : str or None
        The state of the last run that has started, and its message.
    """

    schedule: Schedule
    active: bool
    next_run: datetime | None
    last: str | None


def deploy(schedule: Schedule) -> UUID:
    """Bring a schedule to the server, in place of the app's last one, and return the deployment's id.

    A run that is due while another one of the app is going is cancelled by the server.

    Raises
    ------
    ConfigurationError
        If the cron string or the time zone is none.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.exceptions import ObjectNotFound
    from prefect.utilities.callables import parameter_schema

    from flows.scheduled import renew

    try:
        clock = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    except ValueError:
        raise ConfigurationError(
            f"--cron '{schedule.cron}' --timezone '{schedule.timezone}': expected five fields, such as '0 3 * * *' (every "
            "night at three), and a time zone's name, such as Europe/Zurich"
        ) from None
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        return client.create_deployment(
            flow_id=client.create_flow_from_name(FLOW),
            name=schedule.app,
            description=f"Pulls the sources of {schedule.app}, runs it, and releases the new model if it passes the gate.",
            entrypoint=ENTRYPOINT,
            path=".",
            pull_steps=[
                {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $" + HOME + " }}"}},
            ],
            parameters={"app": schedule.app, "wait_for_review": schedule.wait_for_review},
            parameter_openapi_schema=parameter_schema(renew).model_dump_for_openapi(),
            schedules=[DeploymentScheduleCreate(schedule=clock, active=True)],
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            work_pool_name=POOL,
            paused=False,
        )


def remove(app: str) -> bool:
    """Remove an app's schedule from the server; False where there is none."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(f"{FLOW}/{app}")
        except ObjectNotFound:
            return False
        client.delete_deployment(deployment.id)
    return True


def listed() -> list[Listed]:
    """Return the schedules that stand on the server, by app."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        deployments = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])))
        return sorted((_listed(client, one) for one in deployments), key=lambda row: row.schedule.app)


def _listed(client: Any, deployment: Any) -> Listed:
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    of = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    due = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    coming = client.read_flow_runs(
        deployment_filter=of, flow_run_filter=due, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=1
    )
    begun = [
        run
        for run in client.read_flow_runs(deployment_filter=of, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200)
        if run.state is not None and not run.state.is_scheduled()
    ]
    state = begun[0].state if begun else None
    clock = deployment.schedules[0].schedule if deployment.schedules else None
    return Listed(
        schedule=Schedule(
            app=deployment.parameters.get("app", deployment.name),
            cron=getattr(clock, "cron", "–"),
            timezone=getattr(clock, "timezone", None) or "UTC",
            wait_for_review=deployment.parameters.get("wait_for_review"),
        ),
        active=not deployment.paused and any(one.active for one in deployment.schedules),
        next_run=coming[0].expected_start_time if coming else None,
        last=f"{state.name}: {state.message}" if state is not None and state.message else getattr(state, "name", None),
    )
