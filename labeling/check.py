"""Finds what is wrong with an app before anything runs: its configuration, its sources and its functions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from labeling.app import App, configuration_file, read_app
from labeling.ballot import Ballot, cast_votes
from labeling.collect import set_aside, to_records
from labeling.corpus import read_labels
from labeling.examples import failing_examples, needed_by
from labeling.functions import FUNCTIONS_FILE, line_of_function, load_functions
from labeling.relations import contradictory_functions, dead_functions, duplicate_functions
from labeling.sources import read_source, read_wrench
from labeling.vote import VoteParameters, vote_all
from ledger.errors import FunctionError, PricecutError
from ledger.parameters import line_of, read_parameters
from ledger.places import Places

SAMPLE = 200
"""Rows a source on which functions are tried; `vote` tries them on all."""


@dataclass(frozen=True)
class Findings:
    """What is wrong with an app, and what is odd.

    Attributes
    ----------
    faults : tuple of str
        What has to be mended before anything runs.
    warnings : tuple of str
        Dead, duplicate and contradictory functions: it runs all the same.
    """

    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def examine_app(places: Places, sources: Path) -> Findings:
    """Check an app; its functions' votes are looked at only where nothing is wrong.

    Parameters
    ----------
    places : Places
        The app's files.
    sources : Path
        The folder of its sources.
    """
    faults = find_faults(places, sources)
    if faults:
        return Findings(tuple(faults), ())
    try:
        if is_current(places, read_app(places)):
            ballot = cast_votes(places)
            return Findings((), tuple(odd_functions(places, ballot, f"the {ballot.rows.height} rows of the corpus")))
        ballot = vote_on_sample(places, sources)
    except FunctionError as error:  # on a row that is not among the first
        return Findings((str(error),), ())
    where = (
        f"the {ballot.rows.height} sample rows (the first of each source: nothing is collected yet as app.yaml stands)"
    )
    return Findings((), tuple(odd_functions(places, ballot, where)))


def is_current(places: Places, app: App) -> bool:
    """Whether there is a corpus with the labels and the fields that the app has now."""
    if not places.corpus.exists():
        return False
    columns = pl.read_parquet_schema(places.corpus)
    return read_labels(places.corpus) == tuple(app.labels) and all(field in columns for field in app.fields)


def odd_functions(places: Places, ballot: Ballot, where: str) -> list[str]:
    """Say which functions are dead, duplicate or contradictory, by their votes; each with its file and line."""
    path, names, classes = places.app_folder / FUNCTIONS_FILE, ballot.names, len(ballot.labels)

    def at(j: int) -> str:
        return f"{path}:{line_of_function(path, names[j])}: function '{names[j]}'"

    dead = [f"{at(j)} votes on none of {where}; mend it, or remove it" for j in dead_functions(ballot.matrix)]
    duplicate = [
        f"{at(pair.second)} votes as '{names[pair.first]}' does on {pair.same} of the {pair.either} rows on which either votes, "
        f"among {where}; label models take the two for two opinions: keep one"
        for pair in duplicate_functions(ballot.matrix, classes)
    ]
    contradictory = [
        f"{at(pair.second)} contradicts '{names[pair.first]}' on {pair.both - pair.same} of the {pair.both} rows on which both vote, "
        f"more than chance has them meet, among {where}; one of them means something else"
        for pair in contradictory_functions(ballot.matrix, classes)
    ]
    return dead + duplicate + contradictory


def vote_on_sample(places: Places, sources: Path) -> Ballot:
    """Let an app's functions vote on the first rows of each source."""
    app = read_app(places)
    samples = []
    for name, source in app.sources.items():
        records = to_records(name, source, app, read_source(name, source, sources).head(SAMPLE))
        samples.append(set_aside(records, app)[0])
    rows = pl.concat(samples).with_columns(pl.col("record").alias("row_id"))
    functions = load_functions(places.app_folder, app.labels)
    votes = vote_all(functions, rows, app.labels)
    return Ballot(tuple(app.labels), rows, tuple(functions), np.column_stack([voted.column for voted in votes]))


def find_faults(places: Places, sources: Path) -> list[str]:
    """Check an app and say every fault, each with its file and line where one can be named.

    Parameters
    ----------
    places : Places
        The app's files.
    sources : Path
        The folder of its sources.

    Returns
    -------
    list of str
        ``file:line: what was expected``; empty where nothing is wrong.
    """
    try:
        app = read_app(places)
    except PricecutError as error:
        return str(error).splitlines()
    path = configuration_file(places)
    faults = unknown_labels(app, path)
    samples = []
    for name, source in app.sources.items():
        line = line_of(path, ("sources", name))
        try:
            records = to_records(name, source, app, read_source(name, source, sources).head(SAMPLE))
        except PricecutError as error:
            faults.append(f"{path}:{line}: {error}")
            continue
        kept, rejected = set_aside(records, app)
        samples.append(kept)
        if kept.height == 0:
            reasons = ", ".join(rejected["reason"].unique().sort().to_list())
            faults.append(
                f"{path}:{line}: source '{name}': none of the first {records.height} rows can be used: {reasons}"
            )
    faults += unreadable_splits(app, path, sources)
    rows = pl.concat(samples) if samples else None
    return faults + function_faults(places, app, rows)


def unknown_labels(app: App, path: Path) -> list[str]:
    """Find ``label_names`` that lead to a label the app does not have."""
    return [
        f"{path}:{line_of(path, ('sources', name, 'label_names', written))}: source '{name}' writes '{written}' for '{label}'; "
        f"expected one of {', '.join(app.labels)}"
        for name, source in app.sources.items()
        for written, label in source.label_names.items()
        if label not in app.labels
    ]


def unreadable_splits(app: App, path: Path, sources: Path) -> list[str]:
    """Find published splits whose file is missing or no WRENCH JSON."""
    faults = []
    for split, file in app.split.published.items() if app.split else ():
        line = line_of(path, ("split", "published", split))
        if not (sources / file).is_file():
            faults.append(f"{path}:{line}: {sources / file}: not found; expected the published split '{split}' there")
            continue
        try:
            read_wrench(sources / file)
        except PricecutError as error:
            faults.append(f"{path}:{line}: {error}")
    return faults


def function_faults(places: Places, app: App, rows: pl.DataFrame | None) -> list[str]:
    """Load the functions, run their examples, and try each on sample rows of every source."""
    path = places.app_folder / FUNCTIONS_FILE
    try:
        functions = load_functions(places.app_folder, app.labels)
    except FunctionError as error:
        return [str(error)]
    faults = failing_examples(functions, app.labels, app.fields, path)
    if rows is None or rows.height == 0:
        return faults
    allowed = read_parameters("vote", VoteParameters).error_share
    for function in functions:
        if getattr(function, "costs", False):
            continue  # a check must not spend money, nor send texts anywhere
        line = line_of_function(path, function.name)
        try:
            needed = needed_by(function, functions)
            voted = vote_all(needed, rows.with_columns(pl.col("record").alias("row_id")), app.labels)[-1]
        except FunctionError as error:
            faults.append(f"{path}:{line}: {error}")
            continue
        if voted.errors > allowed * rows.height:
            faults.append(
                f"{path}:{line}: function '{function.name}' raised on {voted.errors} of {rows.height} sample rows, more than "
                f"vote.error_share ({allowed:g}) allows; first: {voted.first_error}"
            )
    return faults
