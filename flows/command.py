"""The ``pricecut`` command: a thin layer over the floors below. Heavy imports wait until a command needs them."""

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.root import enter_root
from ledger.errors import DataError, PricecutError
from ledger.places import Places

if TYPE_CHECKING:
    from rich.console import RenderableType

FAILED, MEND, GATES_MISSED = 1, 2, 3

HELP = """
Raw text and labeling functions in; the cheapest classifier that keeps its quality, and a statement of every cost cut, out.

[bold]A first round[/]

  pricecut new reviews          an app that runs, with invented rows to replace
  pricecut check reviews        every fault of it, with file and line
  pricecut run reviews          through all stages, by Prefect over DVC's graph
  pricecut functions reviews    what each labeling function was worth
  echo "great lamp" | pricecut predict reviews -

[bold]Exit codes[/]: 0 done · 1 a stage failed, which is a defect of ours · 2 something for you to mend; the message says what, where
and how · 3 `run` went through, but no student passes the gates of params.yaml (the best one is published all the same).
"""

cli = typer.Typer(
    help=HELP,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


@cli.command()
def check(app: AppName, as_json: AsJson = False) -> None:
    """Find what is wrong with an app before anything runs: configuration, sources, functions.

    Each fault has its file and line. Exits with 2 if there is one.
    """
    from flows.apps import registered_app
    from labeling.check import find_faults

    enter_root()
    places = Places(app)
    # Sources that a stage invents (customer_service) are not there in a fresh clone.
    if places.app_folder.is_dir():
        sources = registered_app(app).sources
        bring_sources(sources)
        faults = find_faults(places, sources)
    else:
        faults = find_faults(places, Path())
    if as_json:
        print(json.dumps({"app": app, "faults": faults}, ensure_ascii=False, indent=2))
    elif faults:
        print("\n".join(faults))
    else:
        print(f"{app}: configuration, sources and functions are in order")
    if faults:
        raise typer.Exit(MEND)


@cli.command()
def run(
    apps: Annotated[
        list[str] | None,
        typer.Argument(metavar="[APP]...", help="None: all apps of params.yaml.", autocompletion=complete_app),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring apps up to date, from sources to report: a Prefect run over DVC's graph.

    Only what has changed is run. Interrupted, it goes on from the last finished stage when started again.
    """
    enter_root()
    tell("starting Prefect (a first start on a machine takes up to a minute)")
    from flows.apps import main_apps, registered_app
    from flows.pipeline import run_pipeline
    from flows.results import read_results
    from flows.tables import results_tables

    names = apps or main_apps()
    for name in names:
        registered_app(name)
    state: Any = run_pipeline(apps=names, return_state=True)
    if not state.is_completed():
        message = state.message or "the run failed"
        tell(re.sub(r"^exit \d+: ", "", message, flags=re.MULTILINE))
        codes = re.findall(r"^exit (\d+): ", message, flags=re.MULTILINE)
        raise typer.Exit(MEND if codes and set(codes) == {str(MEND)} else FAILED)
    results = [read_results(name) for name in names]
    if as_json:
        print(json.dumps([result.as_json() for result in results], ensure_ascii=False, indent=2))
    else:
        for result in results:
            render(results_tables(result))
    if not all(result.passed for result in results):
        raise typer.Exit(GATES_MISSED)


@cli.command()
def functions(
    app: AppName,
    as_json: AsJson = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Show the last run's table, whatever was edited since.")
    ] = False,
) -> None:
    """Show what each labeling function is worth, running what an edit changed, up to `label`.

    Coverage, overlaps and conflicts are shares of the train rows; then how often its votes on the gold sample are right, on how many
    votes that rests, and the share of its votes that the label model believes.
    """
    from flows.apps import registered_app
    from flows.tables import functions_table
    from ledger.account import read

    enter_root()
    registered_app(app)
    if not as_is:
        bring_up_to(app, "label")
    report = read(Places(app).functions_report).content
    show(report, functions_table(app, report), as_json)


@cli.command()
def predict(
    app: AppName,
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="A text a line; '-' reads standard input.")] = "-",
    field: Annotated[
        str | None, typer.Option("--field", help="The lines are JSON objects; the text stands in this field of each.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Classify texts with the published model: JSON lines with text, label and probabilities.

    Neither TensorFlow nor torch is loaded.
    """
    from training.runtime import load

    caller = enter_root()
    classifier = load(Places(app).published, threads)
    for texts in batches(read_lines(file, caller), field):
        lines = [
            answer(text, row, classifier.labels) for text, row in zip(texts, classifier.predict(texts), strict=True)
        ]
        try:
            print("\n".join(lines), flush=True)
        except BrokenPipeError:  # `pricecut predict ... | head`: whoever reads has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return


def answer(text: str, probabilities: Iterable[float], labels: tuple[str, ...]) -> str:
    """Return one answer as a line of JSON."""
    shares = {label: round(float(p), 6) for label, p in zip(labels, probabilities, strict=True)}
    likeliest = max(shares, key=lambda label: shares[label])
    return json.dumps({"text": text, "label": likeliest, "probabilities": shares}, ensure_ascii=False)


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


def read_lines(file: str, caller: Path) -> Iterator[str]:
    """Yield the lines of a file, as seen from where the command was called, or of standard input."""
    try:
        if file == "-":
            if isinstance(sys.stdin, io.TextIOWrapper):  # whatever the locale says
                sys.stdin.reconfigure(encoding="utf-8", errors="strict")
            yield from sys.stdin
        else:
            with (caller / file).open(encoding="utf-8") as lines:
                yield from lines
    except FileNotFoundError:
        raise DataError(f"{file}: not found; expected a text a line there, or '-' for standard input") from None
    except IsADirectoryError:
        raise DataError(f"{file}: is a folder; expected a file with a text a line") from None
    except UnicodeDecodeError as error:
        named = "standard input" if file == "-" else file
        raise DataError(
            f"{named}: expected UTF-8 text, got {error.object[error.start : error.start + 8]!r}; convert it first"
        ) from None


def batches(lines: Iterator[str], field: str | None, size: int = 256) -> Iterator[list[str]]:
    """Gather lines into batches of texts; empty lines are passed over."""
    batch: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        batch.append(text if field is None else field_of(text, field, number))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def field_of(line: str, field: str, number: int) -> str:
    """Return one field of a line of JSON."""
    try:
        value: Any = json.loads(line)[field]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise DataError(f"line {number}: expected a JSON object with the field '{field}', got {line[:60]!r}") from None
    if not isinstance(value, str):
        raise DataError(f"line {number}: expected text in the field '{field}', got {value!r}")
    return value.encode("utf-8", "replace").decode("utf-8")  # JSON can spell half a character


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


def main() -> None:
    """Run the command; a message for its reader is printed without a traceback."""
    try:
        cli(standalone_mode=True)
    except PricecutError as error:
        tell(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
