"""What an edit changed: the votes of two versions of an app's functions on the same rows, side by side."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from labeling.ballot import Ballot
from labeling.functions.vocabulary import ABSTAIN
from labeling.gate import votes_on_gold

Status = Literal["added", "removed", "changed", "same votes"]

EXAMPLES = 3


@dataclass(frozen=True)
class OnGold:
    """How a function did on gold: of its votes there, how many are right."""

    right: int
    votes: int

    @property
    def accuracy(self) -> float | None:
        """The share that is right; None without votes."""
        return round(self.right / self.votes, 4) if self.votes else None


@dataclass(frozen=True)
class Moved:
    """A row whose vote moved: labels by name, None where the function abstains (or the truth is not known)."""

    row_id: str
    text: str
    before: str | None
    after: str | None
    gold: str | None


@dataclass(frozen=True)
class Change:
    """What became of one function.

    Attributes
    ----------
    name, status : str
        The function; ``added``, ``removed``, ``changed`` or ``same votes``.
    votes_before, votes_after : int
        On how many rows of the corpus it votes.
    gained, lost, flipped : int
        Rows on which only the later version votes, only the earlier one, and both but differently.
    gold_before, gold_after : OnGold
        On the gold rows.
    examples : tuple of Moved
        Gold rows that are wrong now and were not first, then other gold rows, then train rows.
    """

    name: str
    status: Status
    votes_before: int
    votes_after: int
    gained: int
    lost: int
    flipped: int
    gold_before: OnGold
    gold_after: OnGold
    examples: tuple[Moved, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as a mapping."""
        gold = {"accuracy_before": self.gold_before.accuracy, "accuracy_after": self.gold_after.accuracy}
        return asdict(self) | gold


def compare(before: Ballot, after: Ballot, examples: int = EXAMPLES) -> list[Change]:
    """Compare two ballots on the same rows: the later one's functions in their order, then those that are gone.

    Parameters
    ----------
    before, after : Ballot
        The earlier and the later version.
    examples : int
        At most so many rows a function.
    """
    nothing = np.full(after.rows.height, ABSTAIN, dtype=np.int8)
    names = [*after.names, *(name for name in before.names if name not in after.names)]
    found = []
    for name in names:
        old = before.column(name) if name in before.names else nothing
        new = after.column(name) if name in after.names else nothing
        if name not in before.names:
            status: Status = "added"
        elif name not in after.names:
            status = "removed"
        else:
            status = "same votes" if np.array_equal(old, new) else "changed"
        voted, votes = old != ABSTAIN, new != ABSTAIN
        found.append(
            Change(
                name,
                status,
                int(voted.sum()),
                int(votes.sum()),
                gained=int((~voted & votes).sum()),
                lost=int((voted & ~votes).sum()),
                flipped=int((voted & votes & (old != new)).sum()),
                gold_before=on_gold(old, after.rows),
                gold_after=on_gold(new, after.rows),
                examples=moved_rows(old, new, after.rows, after.labels, examples),
            )
        )
    return found


def on_gold(column: np.ndarray, rows: pl.DataFrame) -> OnGold:
    """Count a function's votes on gold rows, and those that are right."""
    votes, right = votes_on_gold(column, rows)
    return OnGold(int(right.sum()), int(votes.sum()))


def moved_rows(
    old: np.ndarray, new: np.ndarray, rows: pl.DataFrame, labels: Sequence[str], count: int
) -> tuple[Moved, ...]:
    """Pick rows whose vote moved: what is wrong now and was not, other gold rows, flips, losses, gains; in order of the corpus."""
    truth, gold = rows["label"].to_numpy(), (rows["split"] == "gold").to_numpy()
    moved = np.flatnonzero(old != new)
    newly_wrong = gold & ((old == truth) & (new != truth) | (new != ABSTAIN) & (new != truth))
    keys = (new[moved] == ABSTAIN, old[moved] == ABSTAIN, ~gold[moved], ~newly_wrong[moved])

    def named(vote: int) -> str | None:
        return None if vote == ABSTAIN else labels[vote]

    ids, texts = rows["row_id"], rows["text"]
    return tuple(
        Moved(ids[i], texts[i], named(old[i]), named(new[i]), named(truth[i]) if gold[i] else None)
        for i in moved[np.lexsort(keys)][:count].tolist()
    )
