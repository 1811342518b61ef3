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
    from flows.graph import changed_stages, read_graph, run_stage, stages_of

    plan = stages_of(read_graph(), app, last)
    changed, moved = changed_stages(plan), set[str]()
    for address, stage in plan.items():
        if (address in changed or moved & set(stage.needs)) and run_stage(address, tell):
            moved.add(address)


def bring_sources(sources: Path) -> None:
    """Run the stage that writes an app's sources, if there is one and they are missing."""
    if sources.exists():
        return
    from flows.graph import producer, read_graph, run_stage

    stage = producer(read_graph(), sources)
    if stage is not None:
        run_stage(stage.address, tell)


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
