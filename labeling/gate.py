"""Refuses an edit that lowers a labeling function's accuracy on gold below what its team agreed on.

What was agreed stands in the app's ``agreed.yaml``; ``pricecut agree`` writes it, from what the functions measure.
"""

import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl

from labeling.agreed import Agreed, read_agreed
from labeling.functions import ABSTAIN, FUNCTIONS_FILE, line_of_function
from labeling.gold import Answer, read_answers
from ledger.errors import FunctionError
from ledger.parameters import line_of
from ledger.places import Places

logger = logging.getLogger(__name__)

SHOWN = 3
"""Rows that a refusal shows."""

LISTED = 20
"""Wrong rows up to which agreed.yaml lists them, so that a refusal can tell the rows that an edit lost."""

ANSWERED_SINCE = "answered since"
"""Stands for the split of gold rows that a function is not held to."""


def agree(
    names: Sequence[str],
    matrix: np.ndarray,
    rows: pl.DataFrame,
    tolerance: float,
    coverage: bool = False,
    when: datetime | None = None,
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
    when : datetime or None
        Now, with its zone.
    """
    gold, ids = (rows["split"] == "gold").to_numpy(), rows["row_id"]
    sample, found = fingerprint(rows), {}
    for j, name in enumerate(names):
        votes, right = votes_on_gold(matrix[:, j], rows)
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
            when=when,
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
    answers = read_answers(places.gold_answers, labels)
    refused = []
    for j, name in enumerate(names):
        if name not in agreed:
            continue
        known = known_then(rows, answers, agreed[name].when)
        count = int(votes_on_gold(matrix[:, j], known)[0].sum())
        if count < least_votes <= agreed[name].votes:
            logger.warning(
                "'%s' votes on %d gold rows, when agreed on %d: too few to hold it to what was agreed (vote.gate_votes: %d)",
                name,
                count,
                agreed[name].votes,
                least_votes,
            )
        if short := falls_short(agreed[name], matrix[:, j], known, labels, least_votes):
            path = places.app_folder / FUNCTIONS_FILE
            same = agreed[name].gold in ("", fingerprint(known))
            changed = "" if same else "; other gold rows have changed since, so it may not be the edit"
            refused.append(
                f"{path}:{line_of_function(path, name)}: function '{name}': {short}{changed}; mend it, or agree anew with "
                f"`pricecut agree {places.app} --function {name}`"
            )
    if refused:
        raise FunctionError("\n".join(refused))


def known_then(rows: pl.DataFrame, answers: Sequence[Answer], when: datetime | None) -> pl.DataFrame:
    """Return the corpus with the gold rows that were answered after a time set apart from the others by their ``split``."""
    if when is None:
        return rows
    later = {answer.row_id for answer in answers if datetime.fromisoformat(answer.when) > when}
    return rows.with_columns(
        pl.when((pl.col("split") == "gold") & pl.col("row_id").is_in(list(later)))
        .then(pl.lit(ANSWERED_SINCE))
        .otherwise(pl.col("split"))
        .alias("split")
    )


def falls_short(
    agreed: Agreed, column: np.ndarray, rows: pl.DataFrame, labels: Sequence[str], least_votes: int
) -> str | None:
    """Say how a function's votes, int8 of shape (rows,), fall short of what was agreed; None where they do not."""
    votes, right = votes_on_gold(column, rows)
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


def votes_on_gold(column: np.ndarray, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return where a function votes on a gold row, and where it is right: bool of shape (rows,)."""
    votes = (rows["split"] == "gold").to_numpy() & (column != ABSTAIN)
    return votes, votes & (column == rows["label"].to_numpy())
