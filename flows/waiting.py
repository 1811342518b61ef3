"""A scheduled run that waits for people's answers: suspended on the server, resumed by the import or by the clock."""

import os
from datetime import timedelta
from typing import Any
from uuid import UUID

FLOW = "renew"
KEY = "review"
"""Of the pause: a run that was resumed does not wait a second time."""
SUSPENDED, RESUMING = "Suspended", "Resuming"
ENDED = ("Cancelling", "Cancelled", "Failed", "Crashed", "Completed")
SHORTEST_S = 10
"""Seconds: Prefect's clock is no finer (``within`` of a proactive trigger)."""
SPARE = timedelta(days=1)
"""After the wait has ended and nobody, the automation neither, has resumed it, Prefect fails the run."""


def has_server() -> bool:
    """Whether Prefect's API is a server that stays: only there a run can be suspended."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    from prefect.settings import PREFECT_API_URL  # a second; a profile may say it

    return bool(PREFECT_API_URL.value())


def suspended(app: str, but: UUID | None = None) -> list[Any]:
    """Return the flow runs of an app that wait for answers.

    Parameters
    ----------
    app : str
        The app.
    but : UUID or None
        A flow run that does not count: the one that asks.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateName,
    )

    state = FlowRunFilterState(name=FlowRunFilterStateName(any_=[SUSPENDED]))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])), flow_run_filter=FlowRunFilter(state=state)
        )
    return [run for run in runs if run.parameters.get("app") == app and run.id != but]


def resume(app: str) -> list[str]:
    """Resume the runs of an app that wait for answers, and return their names."""
    from prefect.flow_runs import resume_flow_run

    waiting = suspended(app)
    for run in waiting:
        resume_flow_run(run.id)
    return [run.name for run in waiting]


def wait_for_answers(deployment: UUID, app: str, seconds: int) -> None:
    """Suspend this flow run until its answers are imported, or ``seconds`` have passed; return at once if it was resumed.

    The process ends: a worker starts the run anew when it goes on, and what is done is not done again.
    """
    from prefect.flow_runs import suspend_flow_run

    wake_up_after(deployment, app, seconds)
    suspend_flow_run(timeout=int((timedelta(seconds=seconds) + SPARE).total_seconds()), key=KEY)


def wake_up_after(deployment: UUID, app: str, seconds: int) -> None:
    """Have the server resume a deployment's runs that have been suspended for so long (an automation of Prefect's)."""
    from prefect.events.actions import ResumeFlowRun
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    from flows.automations import WAITS, keep, runs_of

    trigger = EventTrigger(
        posture=Posture.Proactive,
        after={f"prefect.flow-run.{SUSPENDED}"},
        expect={f"prefect.flow-run.{state}" for state in (RESUMING, *ENDED)},
        for_each={"prefect.resource.id"},
        within=timedelta(seconds=max(seconds, SHORTEST_S)),
        **runs_of(deployment),
    )
    keep(
        AutomationCore(
            name=WAITS % app,
            description="A run that waits for answers goes on after a while; `pricecut review` resumes it before.",
            trigger=trigger,
            actions=[ResumeFlowRun()],
        )
    )
