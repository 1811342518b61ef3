"""Finds what is wrong with an app before anything runs: its configuration, its sources and its functions."""

from pathlib import Path

import polars as pl

from labeling.app import App, configuration_file, read_app
from labeling.collect import set_aside, to_records
from labeling.functions import FUNCTIONS_FILE, line_of_function, load_functions
from labeling.sources import read_source, read_wrench
from labeling.vote import VoteParameters, vote_all
from ledger.errors import FunctionError, PricecutError
from ledger.parameters import line_of, read_parameters
from ledger.places import Places

SAMPLE = 200
"""Rows a source on which functions are tried; `vote` tries them on all."""


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
    """Load the functions and try each on sample rows of every source."""
    path = places.app_folder / FUNCTIONS_FILE
    try:
        functions = load_functions(places.app_folder, app.labels)
    except FunctionError as error:
        return [str(error)]
    if rows is None or rows.height == 0:
        return []
    faults = []
    allowed = read_parameters("vote", VoteParameters).error_share
    for function in functions:
        if getattr(function, "costs", False):
            continue  # a check must not spend money, nor send texts anywhere
        line = line_of_function(path, function.name)
        try:
            voted = vote_all([function], rows.with_columns(pl.col("record").alias("row_id")), app.labels)[0]
        except FunctionError as error:
            faults.append(f"{path}:{line}: {error}")
            continue
        if voted.errors > allowed * rows.height:
            faults.append(
                f"{path}:{line}: function '{function.name}' raised on {voted.errors} of {rows.height} sample rows, more than "
                f"vote.error_share ({allowed:g}) allows; first: {voted.first_error}"
            )
    return faults
