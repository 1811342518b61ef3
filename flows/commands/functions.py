"""`pricecut functions` and `pricecut why`: what each function is worth, what an edit changed, what none covers, why a label."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.root import enter_root
from flows.shell import AppName, AsIs, AsJson, bring_up_to, show
from ledger.errors import ConfigurationError, FunctionError
from ledger.places import Places

if TYPE_CHECKING:
    from labeling.uncovered import Cluster


def functions(
    app: AppName,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One function: its figures and its mistakes. None: all.")
    ] = None,
    mistakes: Annotated[int, typer.Option(min=0, help="Mistakes shown of one function.")] = 5,
    against: Annotated[
        str | None, typer.Option(metavar="REV", help="What changed since this git revision; the corpus is today's.")
    ] = None,
    uncovered: Annotated[bool, typer.Option("--uncovered", help="Cluster the text that no function votes on.")] = False,
    clusters: Annotated[int | None, typer.Option(min=1, help="How many clusters; none chooses by the rows.")] = None,
    as_is: AsIs = False,
    as_json: AsJson = False,
) -> None:
    """Show what each labeling function is worth, running what an edit changed, up to `label`.

    Coverage, overlaps and conflicts are shares of the train rows; then how often its votes on the gold sample are right, with the
    95 % interval and the number of votes it rests on, and the share of its votes that the label model believes. No test row is read.
    """
    from flows.apps import registered_app

    enter_root()
    registered_app(app)
    if against is not None and (uncovered or clusters):
        raise ConfigurationError("--against and --uncovered ask two things; give one of them")
    if not as_is:
        bring_up_to(app, "label" if against is None else "fuse")  # of an edit, votes are cast here
    if against is not None:
        show_changes(app, against, name, as_json)
    elif uncovered or clusters:
        show_uncovered(app, clusters, as_json)
    elif name is not None:
        show_function(app, name, mistakes, as_json)
    else:
        show_all(app, as_json)


def read_functions(places: Places) -> dict[str, Any]:
    """Read the functions' report, each accuracy on gold with its interval, and how many gold rows people reviewed."""
    from labeling.mistakes import with_interval
    from ledger.account import read

    report = read(places.functions_report).content
    reviewed = read(places.fuse_report).content.get("reviewed", {}).get("rows", 0) if places.fuse_report.exists() else 0
    return report | {"functions": [with_interval(f) for f in report["functions"]], "gold_reviewed": reviewed}


def show_all(app: str, as_json: bool) -> None:
    """Show the table of functions."""
    from flows.editing_tables import functions_table

    report = read_functions(Places(app))
    show(report, functions_table(app, report), as_json)


def show_function(app: str, name: str, count: int, as_json: bool) -> None:
    """Show one function and its mistakes: on gold, or, without one there, where the label model believes it least."""
    import numpy as np

    from flows.editing_tables import function_table
    from labeling.corpus import read_corpus
    from labeling.mistakes import disbelieved, mistakes_on_gold
    from labeling.tables import read_table

    places = Places(app)
    report = read_functions(places)
    about = next((f for f in report["functions"] if f["name"] == name), None)
    if about is None:
        known = ", ".join(f["name"] for f in report["functions"])
        raise FunctionError(f"no function '{name}' in the last run of {app}; expected one of {known}")
    labels, rows = read_corpus(places.corpus)
    column = read_table(places.votes, rows)[name].to_numpy()
    found, source = mistakes_on_gold(column, rows, labels), "gold"
    if not found:
        shares = np.array(read_table(places.labels, rows)["probabilities"].to_list()).reshape(-1, len(labels))
        found, source = disbelieved(column, shares, rows, labels), "label model"
    document = about | {"mistakes_by": source, "mistakes": len(found), "examples": [m.as_json() for m in found[:count]]}
    show(document, function_table(app, document), as_json)


def show_changes(app: str, revision: str, name: str | None, as_json: bool) -> None:
    """Show the votes of the functions at a git revision beside those of the working tree, on today's corpus."""
    import tempfile
    from pathlib import Path

    from flows.editing_tables import changes_table
    from flows.revisions import restore_app_folder
    from labeling.ballot import cast_votes
    from labeling.compare import compare
    from labeling.voting.apply import coverage

    places = Places(app)
    with tempfile.TemporaryDirectory() as folder:
        restored = restore_app_folder(places, revision, Path(folder))
        try:
            before = cast_votes(places, restored)
        except FunctionError as error:
            raise FunctionError(str(error).replace(f"{folder}/", f"{revision}:")) from None
        after = cast_votes(places)
    changes = compare(before, after)
    if name is not None:
        changes = [change for change in changes if change.name == name]
        if not changes:
            raise FunctionError(f"no function '{name}', neither now nor at '{revision}'")
    covered = [coverage(ballot.matrix) for ballot in (before, after)]
    document = {
        "against": revision,
        "rows": after.rows.height,
        "covered_before": round(covered[0], 4),
        "covered_after": round(covered[1], 4),
        "functions": [change.as_json() for change in changes],
    }
    show(document, changes_table(app, document), as_json)


def show_uncovered(app: str, count: int | None, as_json: bool) -> None:
    """Show the text that no function votes on, in clusters with their terms."""
    from flows.editing_tables import uncovered_table

    places = Places(app)
    clusters, rows = uncovered_clusters(places, count)
    document = {
        "train_rows": rows,
        "uncovered": sum(cluster.size for cluster in clusters),
        "clusters": [cluster.as_json() for cluster in clusters],
    }
    show(document, uncovered_table(app, document), as_json)


def uncovered_clusters(places: Places, count: int | None) -> "tuple[list[Cluster], int]":
    """Cluster the train rows that no function votes on; return how many train rows there are, too."""
    import polars as pl

    from labeling.corpus import read_corpus
    from labeling.tables import read_table
    from labeling.uncovered import cluster_texts, vectors_for

    _, corpus = read_corpus(places.corpus)
    rows = corpus.with_columns(read_table(places.labels, corpus)["covered"]).filter(pl.col("split") == "train")
    silent, spoken = rows.filter(~pl.col("covered")), rows.filter(pl.col("covered"))
    return cluster_texts(silent, vectors_for(places, silent), spoken["text"].to_list(), count), rows.height


def why(
    app: AppName,
    row: Annotated[
        str, typer.Argument(metavar="ROW", help="The row's name, as the corpus and the tables here give it.")
    ],
    as_is: AsIs = False,
    as_json: AsJson = False,
) -> None:
    """Show why a row has its label: which functions voted what on it, and what each vote weighed."""
    from flows.apps import registered_app
    from flows.editing_tables import why_table
    from labeling.why import explain_row

    enter_root()
    registered_app(app)
    if not as_is:
        bring_up_to(app, "label")
    found = explain_row(Places(app), row)
    show(found.as_json(), why_table(found), as_json)
