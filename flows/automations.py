"""What a Prefect server does by itself about scheduled runs."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

BAD_ENDS = ("Failed", "Crashed", "TimedOut", "Late")
"""States of a run that somebody should hear of; ``Late``: it was due, and no worker has taken it."""
TOLD = (
    '{"app": "%s", "event": "failed", "state": {{ flow_run.state.name | tojson }}, '
    '"message": {{ flow_run.state.message | tojson }}, "run": {{ flow_run.name | tojson }}}'
)

FAILURES, DEATHS = "pricecut %s: tell of failed runs", "pricecut %s: notice dead runs"
WAITS = "pricecut %s: go on without answers"
SILENT_S = 600
"""Seconds without a sign of life, of which Prefect gives one every 180."""


def runs_of(deployment: UUID) -> dict[str, Any]:
    """Return what makes a trigger match the flow runs of one deployment."""
    return {
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": {
            "prefect.resource.role": "deployment",
            "prefect.resource.id": f"prefect.deployment.{deployment}",
        },
    }


def keep(automation: "AutomationCore") -> UUID:
    """Bring an automation to the server, in place of the one of its name."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        there = client.read_automations_by_name(automation.name)
        if there:
            client.update_automation(there[0].id, automation)
            return there[0].id
        return client.create_automation(automation)


def tell_of_failures(deployment: UUID, app: str, webhook: UUID) -> None:
    """Have the server POST to a webhook when a run of a deployment fails, crashes, times out, or is late.

    Parameters
    ----------
    deployment : UUID
        The deployment.
    app : str
        Its app.
    webhook : UUID
        The block that holds the address.
    """
    from prefect.events.actions import CallWebhook
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    trigger = EventTrigger(
        posture=Posture.Reactive, expect={f"prefect.flow-run.{state}" for state in BAD_ENDS}, **runs_of(deployment)
    )
    keep(
        AutomationCore(
            name=FAILURES % app,
            description="POSTs to the webhook when a scheduled run fails, crashes, times out, or is late.",
            trigger=trigger,
            actions=[CallWebhook(block_document_id=webhook, payload=TOLD % app)],
        )
    )


def notice_deaths(deployment: UUID, app: str, within_s: int = SILENT_S) -> None:
    """Have the server call a run crashed when its machine or its worker has died: no heartbeat, nor anything else, of it."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    trigger = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        within=timedelta(seconds=within_s),
        **runs_of(deployment),
    )
    crashed = ChangeFlowRunState(
        name="Crashed",
        state=StateType.CRASHED,
        message="its machine or its worker has died; the next run goes on from there",
    )
    keep(
        AutomationCore(
            name=DEATHS % app,
            description="Calls a scheduled run crashed when its machine or its worker has died.",
            trigger=trigger,
            actions=[crashed],
        )
    )


def forget(app: str) -> int:
    """Remove the automations of an app, and return how many there were."""
    from prefect.client.orchestration import get_client

    removed = 0
    with get_client(sync_client=True) as client:
        for name in (FAILURES, DEATHS, WAITS):
            for automation in client.read_automations_by_name(name % app):
                client.delete_automation(automation.id)
                removed += 1
    return removed
