"""`vote`: every labeling function votes on every row of the corpus; the label matrix comes out."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field
from snorkel.labeling import LabelingFunction

from labeling.corpus import read_labels
from labeling.embeddings import read_known_texts
from labeling.functions import (
    ABSTAIN,
    FUNCTIONS_FILE,
    BatchFunction,
    DeclaredFunction,
    LogicFunction,
    NearestFunction,
    labels_of,
    lend,
    line_of_function,
    load_functions,
    owner_of,
)
from labeling.gate import hold_to_agreed
from labeling.voting.apply import coverage, label_matrix, vote_all
from labeling.voting.cache import VoteCache
from labeling.voting.votes import Votes
from ledger.errors import FunctionError, PricecutError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places
from ledger.stage import run_stage

__all__ = ["VoteParameters", "Votes", "coverage", "describe", "label_matrix", "main", "vote_all"]

logger = logging.getLogger(__name__)

MEGABYTE = 1_000_000


class VoteParameters(Parameters):
    """Section ``vote`` of ``params.yaml``."""

    error_share: Annotated[float, Field(ge=0, le=1)]
    gate_votes: Annotated[int, Field(ge=1)]
    row_seconds: Annotated[float, Field(gt=0)]
    cache_mb: Annotated[int, Field(ge=0)]


def main(places: Places, usage: Usage) -> None:
    """Vote on the app's corpus."""
    parameters = read_parameters("vote", VoteParameters)
    labels = read_labels(places.corpus)
    functions = load_functions(places.app_folder, labels)
    names = [function.name for function in functions]
    # The texts are streamed; what stays in memory is a few words a row, and a byte a vote.
    rows = pl.read_parquet(places.corpus, columns=["row_id", "split", "label"])
    by_meaning = [function for function in functions if isinstance(function, NearestFunction)]
    if by_meaning:
        lend(
            by_meaning, read_known_texts(places.embeddings, pl.read_parquet(places.corpus, columns=["row_id", "text"]))
        )

    votes = vote(functions, places, labels, parameters)
    refuse_errors(functions, votes, places.app_folder / FUNCTIONS_FILE, rows.height, parameters.error_share)
    matrix = np.column_stack([voted.column for voted in votes])
    logger.info("%d functions on %d rows; %.1f %% covered", len(functions), rows.height, 100 * coverage(matrix))
    hold_to_agreed(places, names, matrix, rows, labels, parameters.gate_votes)

    described = [describe(function, labels) for function in functions]
    table = rows.select("row_id").with_columns(
        pl.Series(name, voted.column, dtype=pl.Int8) for name, voted in zip(names, votes, strict=True)
    )
    table.write_parquet(places.votes, metadata={"labels": json.dumps(labels), "functions": json.dumps(described)})
    report = [
        described[j] | {"votes": int((v.column != ABSTAIN).sum()), "errors": v.errors, "first_error": v.first_error}
        for j, v in enumerate(votes)
    ]
    places.vote_report.parent.mkdir(parents=True, exist_ok=True)
    places.vote_report.write_text(
        json.dumps({"rows": rows.height, "functions": report}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    usage.figures.update(rows=rows.height, functions=len(functions))


def vote(
    functions: Sequence[LabelingFunction], places: Places, labels: Sequence[str], parameters: VoteParameters
) -> list[Votes]:
    """Vote on the corpus as it stands in its file; what did not change since is taken from the cache.

    Raises
    ------
    FunctionError
        With file and line of the function.
    """
    path = places.app_folder / FUNCTIONS_FILE
    cache = VoteCache(places.vote_cache, parameters.cache_mb * MEGABYTE) if parameters.cache_mb else None
    try:
        votes = vote_all(
            functions, pl.scan_parquet(places.corpus), labels, row_seconds=parameters.row_seconds, cache=cache
        )
    except FunctionError as error:
        if error.function is None:
            raise
        raise FunctionError(f"{path}:{line_of_function(path, error.function)}: {error}") from None
    except KeyboardInterrupt:
        raise PricecutError("interrupted; no votes were written, `dvc repro` starts this stage again") from None
    if cache:
        cache.prune()
    return votes


def refuse_errors(
    functions: Sequence[LabelingFunction], votes: Sequence[Votes], path: Path, rows: int, error_share: float
) -> None:
    """Tell what functions raised; raise a FunctionError for the first that did on more than a share of the rows."""
    for function, voted in zip(functions, votes, strict=True):
        if voted.errors > error_share * rows:
            raise FunctionError(
                f"{path}:{line_of_function(path, function.name)}: function '{function.name}' raised on {voted.errors} of "
                f"{rows} rows, more than vote.error_share ({error_share:g}) allows; first: {voted.first_error}"
            )
        if voted.errors:
            logger.warning(
                "'%s' abstains on %d rows where it raised; first: %s", function.name, voted.errors, voted.first_error
            )


def describe(function: LabelingFunction, labels: Sequence[str]) -> dict[str, Any]:
    """Describe a function for the reports: name, kind, the labels it may vote for and who answers for it."""
    declared = isinstance(function, DeclaredFunction | BatchFunction | LogicFunction)
    kind = function.kind if declared else "row"
    return {
        "name": function.name,
        "kind": kind,
        "labels": list(labels_of(function, labels)),
        "owner": owner_of(function),
    }


if __name__ == "__main__":
    run_stage("vote", main)
