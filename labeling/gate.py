"""Refuses an edit that lowers a labeling function's accuracy on gold below what its team agreed on.

What was agreed stands in the app's ``agreed.yaml``; ``pricecut agree`` writes it, from what the functions measure.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import yaml
from pydantic import Field

from labeling.functions import ABSTAIN, FUNCTIONS_FILE, line_of_function
from ledger.errors import ConfigurationError, FunctionError
from ledger.parameters import Parameters, line_of, read_yaml, validate
from ledger.places import Places

logger = logging.getLogger(__name__)

Share = Annotated[float, Field(ge=0, le=1)]

SHOWN = 3
"""Rows that a refusal shows."""

LISTED = 20
"""Wrong rows up to which agreed.yaml lists them, so that a refusal can tell the rows that an edit lost."""

HEADER = """\
# What was agreed: `vote` refuses an edit that brings a function's accuracy on gold (or its coverage) below.
# Written by `pricecut agree APP`; a number may be changed by hand.
"""


class Agreed(Parameters):
    """What was agreed on one function.

    Attributes
    ----------
    accuracy : float
        At least this share of its votes on gold rows is right.
    measured : float or None
        What its accuracy was when it was agreed on; None where someone wrote the entry by hand.
    coverage : float or None
        It votes on at least this share of the train rows; None agrees on nothing.
    votes : int
        On how many gold votes the accuracy rested.
    gold : str
        Fingerprint of the gold sample it was measured on.
    wrong : tuple of str or None
        The gold rows it was wrong on then; None where they were too many to list.
    """

    accuracy: Share
    measured: Share | None = None
    coverage: Share | None = None
    votes: Annotated[int, Field(ge=0)] = 0
    gold: str = ""
    wrong: tuple[str, ...] | None = None


def read_agreed(places: Places) -> dict[str, Agreed]:
    """Read what was agreed, a function; nothing where the file is missing or holds only comments."""
    path = places.agreed
    if not path.exists() or not _says_something(path):
        return {}
    return {str(name): validate(Agreed, value, path, (str(name),)) for name, value in read_yaml(path).items()}


def write_agreed(path: Path, agreed: dict[str, Agreed]) -> None:
    """Write what was agreed, functions by name."""
    document = {name: agreed[name].model_dump(mode="json", exclude_none=True) for name in sorted(agreed)}
    path.write_text(HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")


def agree(
    names: Sequence[str], matrix: np.ndarray, rows: pl.DataFrame, tolerance: float, coverage: bool = False
) -> dict[str, Agreed]:
    """Agree on what the functions measure now, less a tolerance; one without gold votes cannot be agreed on and is left out.

    With few gold votes one row moves an accuracy far, which proves nothing of an edit: it may always fall by one row's worth.

    Parameters
    ----------
    names : sequence of str
        The functions.
    matrix : np.ndarray
        int8 of shape (rows, functions).
    rows : pl.DataFrame
        The corpus: ``row_id``, ``split``, ``label``.
    tolerance : float
        How far an accuracy, and a coverage, may fall: a share; an accuracy by one vote's worth at least.
    coverage : bool
        Agree on coverage too.
    """
    gold, ids = (rows["split"] == "gold").to_numpy(), rows["row_id"]
    sample, found = fingerprint(rows), {}
    for j, name in enumerate(names):
        votes, right = _on_gold(matrix[:, j], rows)
        if not votes.any():
            continue
        least = (
            round(float((matrix[~gold, j] != ABSTAIN).mean()) - tolerance, 4) if coverage and not gold.all() else None
        )
        measured, wrong = float(right.sum() / votes.sum()), np.flatnonzero(votes & ~right)
        found[name] = Agreed(
            accuracy=max(0.0, round(measured - max(tolerance, 1 / int(votes.sum())), 4)),
            measured=round(measured, 4),
            coverage=None if least is None else max(0.0, least),
            votes=int(votes.sum()),
            gold=sample,
            wrong=tuple(ids[int(i)] for i in wrong) if len(wrong) <= LISTED else None,
        )
    return found


def fingerprint(rows: pl.DataFrame) -> str:
    """Return 12 hexadecimal digits of the gold sample's row names and labels, whatever their order."""
    gold = rows.filter(pl.col("split") == "gold").select("row_id", "label").sort("row_id")
    return hashlib.sha256(repr(gold.rows()).encode()).hexdigest()[:12]


def hold_to_agreed(
    places: Places,
    names: Sequence[str],
    matrix: np.ndarray,
    rows: pl.DataFrame,
    labels: Sequence[str],
    least_votes: int,
) -> None:
    """Refuse votes that are worse than agreed.

    Parameters
    ----------
    places : Places
        The app's files.
    names : sequence of str
        The functions.
    matrix : np.ndarray
        int8 of shape (rows, functions).
    rows : pl.DataFrame
        The corpus.
    labels : sequence of str
        The app's.
    least_votes : int
        Gold votes below which an accuracy says too little to refuse by.

    Raises
    ------
    FunctionError
        One line a function that fell below, with file and line, what was agreed and what is, the first rows it gets wrong.
    """
    agreed = read_agreed(places)
    if not agreed:
        return
    for name in sorted(set(agreed) - set(names)):
        line = line_of(places.agreed, (name,))
        logger.warning("%s:%d: '%s' is agreed on, but no function is called so", places.agreed, line, name)
    sample = fingerprint(rows)
    refused = []
    for j, name in enumerate(names):
        if name not in agreed:
            continue
        count = int(_on_gold(matrix[:, j], rows)[0].sum())
        if count < least_votes <= agreed[name].votes:
            logger.warning(
                "'%s' votes on %d gold rows, when agreed on %d: too few to hold it to what was agreed (vote.gate_votes: %d)",
                name,
                count,
                agreed[name].votes,
                least_votes,
            )
        if short := falls_short(agreed[name], matrix[:, j], rows, labels, least_votes):
            path = places.app_folder / FUNCTIONS_FILE
            changed = (
                ""
                if agreed[name].gold in ("", sample)
                else (
                    f"; the gold sample has changed since (then {agreed[name].votes} votes), so it may not be the edit"
                )
            )
            refused.append(
                f"{path}:{line_of_function(path, name)}: function '{name}': {short}{changed}; mend it, or agree anew with "
                f"`pricecut agree {places.app} --function {name}`"
            )
    if refused:
        raise FunctionError("\n".join(refused))


def falls_short(
    agreed: Agreed, column: np.ndarray, rows: pl.DataFrame, labels: Sequence[str], least_votes: int
) -> str | None:
    """Say how a function's votes, int8 of shape (rows,), fall short of what was agreed; None where they do not."""
    votes, right = _on_gold(column, rows)
    count = int(votes.sum())
    # Half of the fourth digit, to which `agree` rounds.
    if count >= max(least_votes, 1) and right.sum() / count < agreed.accuracy - 5e-5:
        was = "" if agreed.measured is None else f"was {agreed.measured:.4f} on {agreed.votes} gold votes, "
        return (
            f"accuracy on gold {was}is {right.sum() / count:.4f} on {count}, agreed was at least {agreed.accuracy:.4f}; "
            f"{_wrong_rows(agreed, column, votes & ~right, rows, labels)}"
        )
    train = (rows["split"] == "train").to_numpy()
    if agreed.coverage is not None and train.any():
        coverage = float((column[train] != ABSTAIN).mean())
        if coverage < agreed.coverage - 5e-5:
            return f"it votes on {coverage:.4f} of the train rows, agreed was at least {agreed.coverage:.4f}"
    return None


def _wrong_rows(
    agreed: Agreed, column: np.ndarray, wrong: np.ndarray, rows: pl.DataFrame, labels: Sequence[str]
) -> str:
    """Name the first rows lost since it was agreed on, or, where that is not known, the first wrong ones."""
    truth, ids = rows["label"].to_numpy(), rows["row_id"]
    found = [int(i) for i in np.flatnonzero(wrong)]
    lost = [] if agreed.wrong is None else [i for i in found if ids[i] not in agreed.wrong]
    shown = ", ".join(f"'{ids[i]}' ({labels[column[i]]}, gold {labels[truth[i]]})" for i in (lost or found)[:SHOWN])
    return f"{f'{len(lost)} rows lost, first' if lost else 'wrong first on'} {shown}"


def _on_gold(column: np.ndarray, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return where a function votes on a gold row, and where it is right: bool of shape (rows,)."""
    votes = (rows["split"] == "gold").to_numpy() & (column != ABSTAIN)
    return votes, votes & (column == rows["label"].to_numpy())


def _says_something(path: Path) -> bool:
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return True  # read_yaml says what is wrong, and where
    if document is not None and not isinstance(document, dict):
        raise ConfigurationError(f"{path}:1: expected a function's name a line, then what was agreed on it")
    return document is not None
