"""`pricecut schedule`: an app renewed by the clock, on a Prefect server."""

import re
from typing import Annotated

import typer

from flows.root import enter_root
from flows.shell import AsJson, complete_app, show, tell
from ledger.errors import ConfigurationError

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
START_ONE = "start one (`make server`), then: export PREFECT_API_URL=http://127.0.0.1:4200/api"


def schedule(
    app: Annotated[str | None, typer.Argument(metavar="[APP]", help="The app.", autocompletion=complete_app)] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="'M H D M W'", help="When: '0 3 * * *' is every night at three.")
    ] = None,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="The clock that --cron is read by.")] = "UTC",
    wait_for_review: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Wait so long (30m, 8h, 2d) for answers when the review queue is new."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the app's schedule off the server.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the schedules on the server.")] = False,
    as_json: AsJson = False,
) -> None:
    """Renew an app by the clock: pull its sources, run it, release the new model if it passes the gate, tell people.

    Needs a Prefect server and a worker that stay up: `make server` and `make worker`. See docs/operators.md.
    """
    enter_root()
    if [bool(cron), remove, list_].count(True) != 1:
        raise ConfigurationError("expected one of --cron, --remove and --list; `pricecut schedule --help` shows them")
    if app is None and not list_:
        raise ConfigurationError("expected the app's name: pricecut schedule APP --cron '0 3 * * *'")
    check_server()
    if list_:
        show_schedules(app, as_json)
    elif remove:
        take_off(str(app))
    else:
        put_on(str(app), str(cron), timezone, None if wait_for_review is None else seconds(wait_for_review), as_json)


def seconds(text: str) -> int:
    """Read a time such as ``90s``, ``30m``, ``8h`` or ``2d``; raise a ConfigurationError where it is none."""
    matched = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if matched is None or not int(matched[1]):
        raise ConfigurationError(f"--wait-for-review '{text}': expected a number and s, m, h or d, such as 8h")
    return int(matched[1]) * UNITS_S[matched[2]]


def check_server() -> None:
    """Raise a ConfigurationError where no server is configured, or it does not answer."""
    tell("asking the Prefect server")
    from prefect.client.orchestration import get_client

    from flows.waiting import has_server

    if not has_server():
        raise ConfigurationError(
            f"no Prefect server is set, and one that ends with each run cannot schedule: {START_ONE}"
        )
    with get_client(sync_client=True) as client:
        failure = client.api_healthcheck()
    if failure is not None:
        raise ConfigurationError(f"the Prefect server does not answer ({type(failure).__name__}): {START_ONE}")


def put_on(app: str, cron: str, timezone: str, wait_for_review: int | None, as_json: bool) -> None:
    """Schedule an app; have the server tell of failed runs where an address for that is given."""
    from rich.text import Text

    from flows.apps import registered_app
    from flows.automations import notice_deaths, tell_of_failures
    from flows.deployments import POOL, Schedule, deploy
    from flows.machines import HOME
    from flows.notify import ADDRESS, keep_address
    from flows.scheduled import ScheduleParameters, check_artifact
    from ledger.parameters import read_parameters

    registered_app(app)
    check_artifact(app)
    read_parameters("schedule", ScheduleParameters)
    webhook = keep_address()
    deployment = deploy(Schedule(app, cron, timezone, wait_for_review))
    notice_deaths(deployment, app)
    if webhook is not None:
        tell_of_failures(deployment, app, webhook)
    lines = [f"{app} is renewed at '{cron}' {timezone}, by a worker of the pool '{POOL}'"]
    if webhook is None:
        lines.append(f"nobody is told of failed runs: set {ADDRESS} and schedule it again")
    lines.append(
        f"Next: {HOME}=<the clone> prefect worker start --pool {POOL} (`make worker`), on each machine that may do it"
    )
    lines.append(f"Now:  prefect deployment run renew/{app}")
    document = {
        "app": app,
        "deployment": str(deployment),
        "cron": cron,
        "timezone": timezone,
        "wait_for_review": wait_for_review,
        "tells_of_failures": webhook is not None,
    }
    show(document, Text("\n".join(lines)), as_json)


def take_off(app: str) -> None:
    """Remove an app's schedule and what the server did about its runs."""
    from flows.automations import forget
    from flows.deployments import remove

    there = remove(app)
    forget(app)
    if not there:
        raise ConfigurationError(
            f"no schedule of '{app}' on the server; `pricecut schedule --list` shows what there is"
        )
    print(f"{app} is not renewed any more; its releases stand as they are")


def show_schedules(app: str | None, as_json: bool) -> None:
    """Print the schedules on the server."""
    from rich.table import Table

    from flows.deployments import listed

    rows = [row for row in listed() if app in (None, row.schedule.app)]
    table = Table("app", "cron", "time zone", "waits", "active", "next run", "last run")
    for row in rows:
        one = row.schedule
        due = row.next_run.isoformat(timespec="minutes") if row.next_run else "–"
        waits = f"{one.wait_for_review} s" if one.wait_for_review else "–"
        table.add_row(one.app, one.cron, one.timezone, waits, "yes" if row.active else "no", due, row.last or "–")
    document = [
        {
            "app": row.schedule.app,
            "cron": row.schedule.cron,
            "timezone": row.schedule.timezone,
            "wait_for_review": row.schedule.wait_for_review,
            "active": row.active,
            "next_run": row.next_run.isoformat() if row.next_run else None,
            "last": row.last,
        }
        for row in rows
    ]
    show(document, table, as_json)
