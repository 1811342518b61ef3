"""What the commands share: the app's argument, bringing its stages up to date, and saying things."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.root import enter_root
from ledger.errors import PricecutError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flows.graph import Stage
    from flows.repository import Repository

FAILED, MEND, GATES_MISSED = 1, 2, 3


def complete_app(incomplete: str) -> list[str]:
    """Complete an app's name in a shell."""
    from flows.apps import registered_apps

    try:
        enter_root()
        return [name for name in registered_apps() if name.startswith(incomplete)]
    except PricecutError:
        return []


AppName = Annotated[
    str, typer.Argument(metavar="APP", help="The app: a folder under labeling/apps.", autocompletion=complete_app)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AsIs = Annotated[bool, typer.Option("--as-is", help="Take what the last run left, whatever was edited since.")]


def bring_up_to(app: str, last: str) -> None:
    """Run an app's changed stages up to one, telling on standard error."""
    from flows.graph import graph_of, stages_of
    from flows.repository import Repository

    repository = Repository()
    with repository.locked() as repo:
        plan = stages_of(graph_of(repo), app, last)
    _bring(repository, plan)


def bring_sources(sources: Path) -> None:
    """Run the stage that writes an app's sources, if there is one and they are missing."""
    if sources.exists():
        return
    from flows.graph import graph_of, producer
    from flows.repository import Repository

    repository = Repository()
    with repository.locked() as repo:
        stage = producer(graph_of(repo), sources)
    if stage is not None:
        _bring(repository, {stage.address: stage})


def _bring(repository: "Repository", plan: "dict[str, Stage]") -> None:
    from flows.heal import heal
    from flows.repository import Outcome
    from flows.running import bring_up_to_date, end_running

    with repository.locked() as repo:
        for line in heal(repo):
            tell(line)
    changed, moved = repository.changed(plan), set[str]()
    try:
        for address, stage in plan.items():
            if (address in changed or moved & set(stage.needs)) and (
                bring_up_to_date(repository, stage, tell, surely=address in changed) is not Outcome.UNCHANGED
            ):
                moved.add(address)
    except BaseException:  # Ctrl-C: what was started must not run on
        end_running()
        raise


def show(document: Any, table: "RenderableType", as_json: bool) -> None:
    """Print JSON or a table."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        render(table)


def render(table: "RenderableType") -> None:
    """Print a table, as wide as the terminal; wide enough for a file."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)


def tell(line: str) -> None:
    """Say on standard error what is going on."""
    print(line, file=sys.stderr, flush=True)
