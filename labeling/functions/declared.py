"""Declared labeling functions, which compile to one Polars plan.

A declared function is data (a pattern, a list of words, an expression), so it runs over a whole column in Rust;
it still is a Snorkel ``LabelingFunction`` and may be called on one row.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.functions.stated import Examples, number_labels
from labeling.functions.vocabulary import ABSTAIN
from ledger.errors import FunctionError


class DeclaredFunction(LabelingFunction):
    """A labeling function that is declared, not coded.

    Parameters
    ----------
    name : str
        Unique in its app.
    kind : str
        ``keyword``, ``regex``, ``expression`` or ``column``.
    labels : tuple of str
        The label names it may vote for.
    expression : pl.Expr
        Gives the vote's label name, or null to abstain, for every row of a table.
    source : str
        What it says, as text: the fingerprint of its column in the vote cache.
    owner : str or None
        Who answers for it; None leaves it to the file's ``OWNER``.
    examples : mapping or sequence of pairs, or None
        A text (or a row) and the label name expected there, None to abstain.
    field : str
        The column that an example's text stands in.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        labels: tuple[str, ...],
        expression: pl.Expr,
        source: str,
        *,
        owner: str | None = None,
        examples: Examples | None = None,
        field: str = "text",
    ) -> None:
        super().__init__(name, self._vote_on_row)
        self.kind = kind
        self.labels = labels
        self.expression = expression
        self.source = source
        self.owner = owner
        self.examples = examples
        self.field = field
        self.numbers: Mapping[str, int] = {}

    def bind(self, app_labels: Sequence[str]) -> "DeclaredFunction":
        """Learn the number of each label; raise a FunctionError for a name that the app does not have."""
        self.numbers = number_labels(self, app_labels)
        return self

    def _vote_on_row(self, x: Any) -> int:
        """Vote on one row (a namespace, a pandas Series), as Snorkel calls a function."""
        row = x if isinstance(x, Mapping) else (x.to_dict() if hasattr(x, "to_dict") else vars(x))
        # pandas writes a missing value as NaN, which differs from itself; a column of nothing but nulls has no type.
        known = {name: None if isinstance(value, float) and value != value else value for name, value in row.items()}
        table = pl.DataFrame([known]).with_columns(pl.col(pl.Null).cast(pl.String))
        value = table.select(self.expression.alias("vote"))["vote"][0]
        return ABSTAIN if value is None else self.numbers[value]


def keyword(
    name: str,
    label: str,
    words: Sequence[str],
    field: str = "text",
    *,
    owner: str | None = None,
    examples: Examples | None = None,
) -> DeclaredFunction:
    """Vote where one of the words or phrases stands in the text, whole and in any case.

    Parameters
    ----------
    name : str
        The function's name.
    label : str
        What it votes for.
    words : sequence of str
        Words or phrases; any white space in a phrase matches any in the text.
    field : str
        The column to look in.

    Examples
    --------
    >>> keyword("asks_refund", "billing", ["refund", "money back"])
    LabelingFunction asks_refund, Preprocessors: []
    """
    if isinstance(words, str) or not words or not all(word.strip() for word in words):
        raise FunctionError(f"function '{name}': expected a list of words, none of them blank, got {words!r}")
    phrases = [r"\s+".join(re.escape(part) for part in word.split()) for word in words]
    # (?:^|\W) rather than \b, so that a phrase may begin or end with a sign such as # or $.
    pattern = rf"(?i)(?:^|\W)(?:{'|'.join(phrases)})(?:\W|$)"
    return _matches(name, "keyword", label, pattern, field, f"keyword {label} {field} {sorted(words)}", owner, examples)


def regex(
    name: str,
    label: str,
    pattern: str,
    field: str = "text",
    *,
    owner: str | None = None,
    examples: Examples | None = None,
) -> DeclaredFunction:
    """Vote where a regular expression matches somewhere in the text, in any case.

    The engine is Rust's: linear in time, without look-around and back-references.

    Raises
    ------
    FunctionError
        If the pattern is not one.
    """
    return _matches(name, "regex", label, f"(?i){pattern}", field, f"regex {label} {field} {pattern}", owner, examples)


def expression(
    name: str,
    label: str,
    condition: pl.Expr,
    *,
    owner: str | None = None,
    examples: Examples | None = None,
) -> DeclaredFunction:
    """Vote where a Polars condition over the row's columns holds.

    Examples
    --------
    >>> import polars as pl
    >>> expression("short", "HAM", pl.col("text").str.len_chars() < 20)
    LabelingFunction short, Preprocessors: []
    """
    vote = pl.when(condition).then(pl.lit(label))
    source = f"expression {label} {condition.meta.serialize(format='json')}"
    return DeclaredFunction(name, "expression", (label,), vote, source, owner=owner, examples=examples)


def column(
    name: str,
    field: str,
    votes: Mapping[str, str],
    *,
    owner: str | None = None,
    examples: Examples | None = None,
) -> DeclaredFunction:
    """Vote by a column that says something about the label: an annotator, a queue, another model's output.

    Parameters
    ----------
    name : str
        The function's name.
    field : str
        One of the app's fields.
    votes : mapping of str to str
        The column's value to the label; it abstains on any other value.
    """
    vote = pl.col(field).replace_strict(dict(votes), default=None, return_dtype=pl.String)
    labels = tuple(dict.fromkeys(votes.values()))
    source = f"column {field} {sorted(votes.items())}"
    return DeclaredFunction(name, "column", labels, vote, source, owner=owner, examples=examples, field=field)


def _matches(
    name: str,
    kind: str,
    label: str,
    pattern: str,
    field: str,
    source: str,
    owner: str | None,
    examples: Examples | None,
) -> DeclaredFunction:
    try:
        pl.Series(["a text"]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        reason = " ".join(str(error).split())
        raise FunctionError(f"function '{name}': expected a regular expression of Rust's engine: {reason}") from None
    vote = pl.when(pl.col(field).str.contains(pattern)).then(pl.lit(label))
    return DeclaredFunction(name, kind, (label,), vote, source, owner=owner, examples=examples, field=field)
