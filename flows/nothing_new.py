"""The short way of a run that finds nothing to do: no Prefect is imported or started, a server that is up is told by one request."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows.apps import main_apps
from flows.graph import Stage, graph_of, planned
from flows.root import DAG_FILE

if TYPE_CHECKING:
    from flows.repository import Repository

FLOW = "pricecut"
SECONDS = 5.0


def names_of(targets: list[str] | None) -> list[str]:
    """Return what to bring up to date: the targets, else all apps of the main pipeline, else all of dvc.yaml."""
    return targets or main_apps() or [str(DAG_FILE)]


def read_plan(repository: "Repository", names: list[str]) -> dict[str, Stage]:
    """Return the stages of some targets, and all that they need, in order."""
    with repository.locked() as repo:
        return planned(graph_of(repo), names)


def message_of(names: list[str]) -> str:
    """Return what a run says that found nothing to do."""
    return f"nothing new: {', '.join(names)}"


def can_record() -> bool:
    """Whether one plain request reaches whatever server there is; where it needs a profile or a key, Prefect itself has to be asked."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profile = home / "profiles.toml"
    if (
        "PREFECT_API_URL" not in os.environ
        and profile.exists()
        and "PREFECT_API_URL" in profile.read_text(encoding="utf-8")
    ):
        return False
    return not any(
        name in os.environ for name in ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_CLIENT_CUSTOM_HEADERS")
    )


def record(names: list[str], targets: list[str] | None) -> None:
    """Tell the server of ``PREFECT_API_URL`` of a run that had nothing to do, so that its page shows it.

    Raises
    ------
    httpx.HTTPError
        If the server does not answer.
    """
    url = os.environ.get("PREFECT_API_URL")
    if url is None:
        return
    import httpx

    state = {"type": "COMPLETED", "name": "Completed", "message": message_of(names)}
    with httpx.Client(base_url=url.rstrip("/"), timeout=SECONDS) as client:
        flow = client.post("/flows/", json={"name": FLOW}).raise_for_status().json()
        run = {"flow_id": flow["id"], "parameters": {"targets": targets}, "state": state}
        client.post("/flow_runs/", json=run).raise_for_status()
