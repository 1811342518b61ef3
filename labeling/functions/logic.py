"""Logic rules: what the votes of some functions imply."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.functions.stated import Examples
from labeling.functions.vocabulary import ABSTAIN
from ledger.errors import FunctionError


class LogicFunction(LabelingFunction):
    """A labeling function that reads other functions' votes.

    Parameters
    ----------
    name : str
        Unique in its app.
    if_all, unless : mapping of str to str or None
        A function's name to the label it votes for; None: whatever it votes for.
    then : str
        What this function then votes for.
    owner, examples
        As in ``implies``.

    Attributes
    ----------
    reads_votes : tuple of str
        The functions it reads; they stand before it in FUNCTIONS, so rules cannot go round in a circle.
    """

    kind = "logic"

    def __init__(
        self,
        name: str,
        if_all: Mapping[str, str | None],
        unless: Mapping[str, str | None],
        then: str,
        *,
        owner: str | None = None,
        examples: Examples | None = None,
    ) -> None:
        super().__init__(name, self._vote_on_row)
        self.if_all, self.unless, self.then = dict(if_all), dict(unless), then
        self.labels = (then,)
        self.reads_votes = tuple(dict.fromkeys([*if_all, *unless]))
        self.source = f"logic {json.dumps([sorted(if_all.items()), sorted(unless.items()), then], ensure_ascii=False)}"
        self.numbers: dict[str, int] = {}
        self.owner = owner
        self.examples = examples

    def bind(self, app_labels: Sequence[str]) -> "LogicFunction":
        """Learn the number of each label; raise a FunctionError for a name that the app does not have."""
        named = [self.then, *(label for label in [*self.if_all.values(), *self.unless.values()] if label is not None)]
        for label in named:
            if label not in app_labels:
                raise FunctionError(
                    f"function '{self.name}': names the label '{label}'; expected one of the app's labels: {', '.join(app_labels)}"
                )
        self.numbers = {label: app_labels.index(label) for label in named}
        return self

    def vote_on_votes(self, votes: pl.DataFrame) -> np.ndarray:
        """Vote by others' votes.

        Parameters
        ----------
        votes : pl.DataFrame
            An Int8 column a function that it reads: label numbers, ABSTAIN for none.

        Returns
        -------
        np.ndarray
            int8 of shape (rows,).
        """
        holds = np.ones(votes.height, dtype=bool)
        for name, label in self.if_all.items():
            holds &= self._says(votes[name].to_numpy(), label)
        for name, label in self.unless.items():
            holds &= ~self._says(votes[name].to_numpy(), label)
        return np.where(holds, self.numbers[self.then], ABSTAIN).astype(np.int8)

    def _says(self, votes: np.ndarray, label: str | None) -> np.ndarray:
        return votes != ABSTAIN if label is None else votes == self.numbers[label]

    def _vote_on_row(self, _row: Any) -> int:
        raise FunctionError(
            f"function '{self.name}': reads the votes of {', '.join(self.reads_votes)}, which one row does not carry",
            self.name,
        )


def implies(
    name: str,
    if_all: Mapping[str, str | None],
    then: str,
    unless: Mapping[str, str | None] | None = None,
    *,
    owner: str | None = None,
    examples: Examples | None = None,
) -> LogicFunction:
    """Vote where functions that stand before it in FUNCTIONS voted as said.

    Parameters
    ----------
    name : str
        The function's name.
    if_all : mapping of str to str or None
        Each function has to vote for its label; None: for any.
    then : str
        The label to vote for.
    unless : mapping of str to str or None
        It abstains where any of these functions votes for its label; None: for any.
    owner, examples
        Who answers for the function; texts with the vote expected on each.

    Examples
    --------
    >>> import polars as pl
    >>> rule = implies("refund_is_billing", {"asks_refund": "billing", "order": None}, "billing", unless={"parcel": None})
    >>> votes = pl.DataFrame({"asks_refund": [0, 0, 0], "order": [1, -1, 1], "parcel": [-1, -1, 1]})
    >>> rule.bind(["billing", "delivery"]).vote_on_votes(votes).tolist()
    [0, -1, -1]
    """
    if not if_all:
        raise FunctionError(f"function '{name}': expected at least one function under if_all")
    return LogicFunction(name, if_all, unless or {}, then, owner=owner, examples=examples)
