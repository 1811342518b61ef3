"""The ``pricecut`` command: a thin layer over the floors below. Heavy imports wait until a command needs them."""

import json
import os
import re
import signal
import sys
from typing import Annotated, Any

import typer

from flows.commands.check import agree, check
from flows.commands.functions import functions, why
from flows.commands.predict import predict
from flows.commands.push import push
from flows.commands.review import review
from flows.commands.schedule import schedule
from flows.root import enter_root
from flows.shell import FAILED, GATES_MISSED, MEND, AppName, AsJson, complete_app, render, show, tell
from ledger.errors import PricecutError
from ledger.places import Places

HELP = """
Raw text and labeling functions in; the cheapest classifier that keeps its quality, and a statement of every cost cut, out.

[bold]A first round[/]

  pricecut new reviews          an app that runs, with invented rows to replace
  pricecut check reviews        every fault of it, with file and line
  pricecut run reviews          through all stages, by Prefect over DVC's graph
  pricecut functions reviews    what each labeling function was worth; --against HEAD: what an edit changed
  pricecut review reviews       the rows most worth a person's minute, out and back in as gold
  echo "great lamp" | pricecut predict reviews -

[bold]Exit codes[/]: 0 done · 1 a stage failed, which is a defect of ours · 2 something for you to mend; the message says what, where
and how · 3 `run` went through, but no student passes the gates of params.yaml: the last published model stays (without one on this
machine, the best is published all the same).
"""

cli = typer.Typer(
    help=HELP,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@cli.command()
def apps(as_json: AsJson = False) -> None:
    """List the apps: what each asks, where its sources stand, how well its published student does."""
    from flows.apps import registered_apps
    from flows.tables import apps_table
    from labeling.app import read_app
    from ledger.account import read

    enter_root()
    rows = []
    for name, entry in registered_apps().items():
        app, metrics = read_app(Places(name)), Places(name).metrics
        scored = read(metrics).content["student"]["accuracy"] if metrics.exists() else None
        rows.append(
            {
                "app": name,
                "title": app.title,
                "labels": list(app.labels),
                "sources": str(entry.sources),
                "pipeline": str(entry.pipeline),
                "student_accuracy": scored,
            }
        )
    show(rows, apps_table(rows), as_json)


@cli.command()
def new(app: Annotated[str, typer.Argument(metavar="APP", help="Its name: small letters, digits and _.")]) -> None:
    """Make an app that runs as it stands: configuration, labeling functions, and invented rows to replace."""
    from flows.scaffold import create_app

    enter_root()
    for path in create_app(app):
        print(f"wrote {path}")
    print(f"\nNext: pricecut check {app}, then pricecut run {app}.")
    print(f"Replace the rows in data/{app}/sources with yours; `dvc add data/{app}/sources` keeps their versions.")


cli.command()(check)


@cli.command()
def run(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]...",
            help="An app, a stage (vote@APP), or a dvc.yaml. None: all apps of params.yaml.",
            autocompletion=complete_app,
        ),
    ] = None,
    as_json: AsJson = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of each stage why it would run, or why not. Runs and writes nothing.")
    ] = False,
) -> None:
    """Bring apps up to date, from sources to report: a Prefect run over DVC's graph.

    Only what has changed is run. Interrupted, or killed, it goes on from where it was when started again.
    """
    enter_root()
    from flows.apps import registered_apps
    from flows.nothing_new import names_of
    from flows.orphans import end_orphans

    names = names_of(targets)
    if explain:
        from flows.commands.explain import show_reasons

        show_reasons(names, as_json)
        return
    end_orphans()
    apps = [name for name in names if name in registered_apps()]
    if not _found_nothing_new(names, targets):
        state = _run_flow(targets)
        if not state.is_completed():
            message = state.message or "the run failed"
            tell(re.sub(r"^exit \d+: ", "", message, flags=re.MULTILINE))
            codes = re.findall(r"^exit (\d+): ", message, flags=re.MULTILINE)
            raise typer.Exit(MEND if codes and set(codes) == {str(MEND)} else FAILED)
    from flows.results import read_results
    from flows.tables import results_tables

    results = [read_results(name) for name in apps]
    if as_json:
        print(json.dumps([result.as_json() for result in results], ensure_ascii=False, indent=2))
    else:
        for result in results:
            render(results_tables(result))
    if not all(result.passed for result in results):
        raise typer.Exit(GATES_MISSED)


def _found_nothing_new(names: list[str], targets: list[str] | None) -> bool:
    """Whether there is nothing to do, which is said, to a server too where there is one."""
    from flows.heal import heal
    from flows.nothing_new import can_record, message_of, read_plan, record
    from flows.repository import Repository

    repository = Repository()
    with repository.locked() as repo:
        for line in heal(repo):
            tell(line)
    if not can_record() or repository.changed(read_plan(repository, names)):
        return False
    tell(message_of(names))
    try:
        record(names, targets)
    except Exception as error:
        tell(f"the server at {os.environ['PREFECT_API_URL']} was not told ({error})")
    return True


def _run_flow(targets: list[str] | None) -> Any:
    """Run the flow; a signal that asks this process to end ends the stages that it started too."""
    from flows.orphans import own_what_starts, server_kept

    if "PREFECT_API_URL" not in os.environ:
        tell("starting Prefect (a first start on a machine takes up to a minute)")
    own_what_starts()
    from flows.pipeline import run_pipeline

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with server_kept():
        return run_pipeline(targets=targets, return_state=True)


for command in (functions, why, review, agree, predict, push, schedule):
    cli.command()(command)


@cli.command()
def report(app: AppName, as_json: AsJson = False) -> None:
    """Show an app's results: scores, sizes, times, the statement of costs, and where the page stands."""
    from flows.apps import registered_app
    from flows.results import read_results
    from flows.tables import results_tables

    enter_root()
    registered_app(app)
    results = read_results(app)
    show(results.as_json(), results_tables(results), as_json)


def main() -> None:
    """Run the command; a message for its reader is printed without a traceback."""
    try:
        cli(standalone_mode=True)
    except PricecutError as error:
        from flows.redaction import hide

        tell(hide(str(error)))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
