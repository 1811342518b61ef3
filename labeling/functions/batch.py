"""Functions that vote on a whole table at a time, but not by a Polars expression: an encoder, a language model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.functions.stated import Examples, number_labels
from labeling.functions.vocabulary import ABSTAIN


class BatchFunction(LabelingFunction, ABC):
    """A labeling function that votes on all rows of a table in one call.

    Parameters
    ----------
    name : str
        Unique in its app.
    kind : str
        What the reports call it: ``embedding``, ``llm``.
    labels : tuple of str
        The label names it may vote for.
    reads : tuple of str
        The columns it reads: with ``source`` the fingerprint of its column in the vote cache.
    source : str
        What it says, as text.
    owner : str or None
        Who answers for it; None leaves it to the file's ``OWNER``.
    examples : mapping or sequence of pairs, or None
        A text (or a row) and the label name expected there, None to abstain.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        labels: tuple[str, ...],
        reads: tuple[str, ...],
        source: str,
        *,
        owner: str | None = None,
        examples: Examples | None = None,
    ) -> None:
        super().__init__(name, self._vote_on_row)
        self.kind = kind
        self.labels = labels
        self.reads = reads
        self.source = source
        self.owner = owner
        self.examples = examples
        self.numbers: dict[str, int] = {}

    def bind(self, app_labels: Sequence[str]) -> "BatchFunction":
        """Learn the number of each label; raise a FunctionError for a name that the app does not have."""
        self.numbers = number_labels(self, app_labels)
        return self

    @abstractmethod
    def vote_on(self, rows: pl.DataFrame) -> np.ndarray:
        """Vote on a table's rows: int8 of shape (rows,), the labels' numbers, ABSTAIN where it has nothing to say."""

    def _vote_on_row(self, x: Any) -> int:
        row = x.to_dict() if hasattr(x, "to_dict") else vars(x)
        votes = self.vote_on(pl.DataFrame([{name: row[name] for name in self.reads}]))
        return int(votes[0]) if len(votes) else ABSTAIN
