"""Declared labeling functions, which compile to one Polars plan.

A declared function is data (a pattern, a list of words, an expression), so it runs over a whole column in Rust;
it still is a Snorkel ``LabelingFunction`` and may be called on one row.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import regex as backtracking
from snorkel.labeling import LabelingFunction

from labeling.functions.stated import Examples, number_labels
from labeling.functions.vocabulary import ABSTAIN
from ledger.errors import FunctionError

logger = logging.getLogger(__name__)

ROW_SECONDS = 1.0
"""How long a pattern that is matched by backtracking may take on a row where nothing else is said; `vote` says."""

SLOW_ROWS, SLOW_SHARE = 20, 0.1
"""Rows, and the share of those asked, on which such a pattern may take too long before it is given up."""


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
    condition : pl.Expr or None
        Of a function of one label: where it votes, as fast as can be told; null is no. It agrees with ``expression``.
    backtracks : str or None
        A pattern that Rust's engine cannot express: Python matches it a row at a time, by ``timed``.
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
        condition: pl.Expr | None = None,
        backtracks: str | None = None,
        owner: str | None = None,
        examples: Examples | None = None,
        field: str = "text",
    ) -> None:
        super().__init__(name, self._vote_on_row)
        self.kind = kind
        self.labels = labels
        self.expression = expression
        self.source = source
        self.condition = condition
        self.backtracks = backtracks
        self.owner = owner
        self.examples = examples
        self.field = field
        self.numbers: Mapping[str, int] = {}

    def bind(self, app_labels: Sequence[str]) -> "DeclaredFunction":
        """Learn the number of each label; raise a FunctionError for a name that the app does not have."""
        self.numbers = number_labels(self, app_labels)
        return self

    def numbered(self) -> pl.Expr:
        """Return the votes as an expression: Int8, the labels' numbers, ABSTAIN for none."""
        if self.condition is None:
            return self.expression.replace_strict(self.numbers, default=ABSTAIN, return_dtype=pl.Int8)
        number = pl.lit(self.numbers[self.labels[0]], dtype=pl.Int8)
        return pl.when(self.condition).then(number).otherwise(pl.lit(ABSTAIN, dtype=pl.Int8))

    def timed(self, seconds: float) -> Callable[[Any], str | None]:
        """Return how a row is voted on by a pattern that backtracks.

        It raises TimeoutError on a row that takes longer, and FunctionError once that is so on too many for the rest to be waited for.
        """
        if self.backtracks is None:
            raise ValueError(f"function '{self.name}' has no pattern that backtracks")
        search = backtracking.compile(self.backtracks, backtracking.IGNORECASE).search
        field, label = self.field, self.labels[0]
        asked = slow = 0

        def vote(row: Any) -> str | None:
            nonlocal asked, slow
            text = getattr(row, field)
            asked += 1
            try:
                return label if text is not None and search(text, timeout=seconds) else None
            except TimeoutError:
                slow += 1
            if slow >= SLOW_ROWS and slow > SLOW_SHARE * asked:
                raise FunctionError(
                    f"function '{self.name}': its pattern took longer than vote.row_seconds ({seconds:g} s) on {slow} of {asked} rows; "
                    "write it without nested repetition, or raise vote.row_seconds",
                    self.name,
                )
            raise TimeoutError(f"took longer than vote.row_seconds ({seconds:g} s)")

        return vote

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
    # Half of a word boundary, so that a phrase may begin or end with a sign such as # or $.
    whole = r"\b{start-half}(?:%s)\b{end-half}"
    text, pattern = pl.col(field), rf"(?i){whole}" % _phrases(words)
    if reason := _refused(pattern):
        raise FunctionError(f"function '{name}': expected fewer or shorter words, or knowledge(...): {reason}")
    found = text.str.contains(pattern)
    return DeclaredFunction(
        name,
        "keyword",
        (label,),
        pl.when(found).then(pl.lit(label)),
        f"keyword {label} {field} {sorted(words)}",
        condition=_folded(text).str.contains(whole % _phrases(word.lower() for word in words))
        if all(word.isascii() for word in words)
        else found,
        owner=owner,
        examples=examples,
        field=field,
    )


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

    The engine is Rust's: linear in time, without look-around and back-references. A pattern that needs these is matched by
    Python, with a warning, a row at a time and no longer a row than ``vote.row_seconds``; there ``$`` also matches before a line
    break that ends the text.

    Raises
    ------
    FunctionError
        If the pattern is not one.
    """
    source = f"regex {label} {field} {pattern}"
    if reason := _refused(f"(?i){pattern}"):
        return _backtracks(name, label, pattern, field, source, owner, examples, reason)
    found = pl.col(field).str.contains(f"(?i){pattern}")
    vote = pl.when(found).then(pl.lit(label))
    return DeclaredFunction(
        name, "regex", (label,), vote, source, condition=found, owner=owner, examples=examples, field=field
    )


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
    return DeclaredFunction(
        name, "expression", (label,), vote, source, condition=condition, owner=owner, examples=examples
    )


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


def _phrases(words: Iterable[str]) -> str:
    return "|".join(r"\s+".join(re.escape(part) for part in word.split()) for word in words)


def _folded(text: pl.Expr) -> pl.Expr:
    """Write a text so that words of ASCII match in it, in lower case, where they match the text in any case; for all keywords at once.

    Literals are found far faster than a pattern in any case. Of what is not ASCII, the latter takes only U+212A for k, whose lower case
    is k, and U+017F for s, whose lower case is not s. The lower case of two letters is a letter to the pattern, they are not yet.
    """
    return text.str.replace_all("[\ua7d2\ua7d4]", "¤").str.to_lowercase().str.replace_all("\u017f", "s", literal=True)


def _refused(pattern: str) -> str | None:
    """Return why Rust's engine refuses a pattern, None where it takes it."""
    try:
        pl.Series(["a text"]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        return " ".join(str(error).split("This error occurred")[0].split())
    return None


def _backtracks(
    name: str,
    label: str,
    pattern: str,
    field: str,
    source: str,
    owner: str | None,
    examples: Examples | None,
    reason: str,
) -> DeclaredFunction:
    """Declare a regular expression that Python has to match; refuse one that Python does not know either."""
    try:
        backtracking.compile(pattern, backtracking.IGNORECASE)
    except backtracking.error:
        raise FunctionError(f"function '{name}': expected a regular expression of Rust's engine: {reason}") from None
    logger.warning(
        "function '%s': Rust's engine cannot express its pattern (%s); Python matches it, many times slower, and abstains where "
        "a row takes longer than vote.row_seconds",
        name,
        reason,
    )

    def vote_on(texts: pl.Series) -> pl.Series:
        search = backtracking.compile(pattern, backtracking.IGNORECASE).search
        return pl.Series(
            [label if text is not None and search(text, timeout=ROW_SECONDS) else None for text in texts],
            dtype=pl.String,
        )

    vote = pl.col(field).map_batches(vote_on, return_dtype=pl.String, is_elementwise=True)
    return DeclaredFunction(
        name, "regex", (label,), vote, source, backtracks=pattern, owner=owner, examples=examples, field=field
    )
