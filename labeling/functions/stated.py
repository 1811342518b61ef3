"""What a labeling function states about itself: the labels it may vote for, its owner, and examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from snorkel.labeling import LabelingFunction

from ledger.errors import FunctionError

Examples = Mapping[str, str | None] | Sequence[tuple[Mapping[str, Any], str | None]]
"""Text to the expected label's name, None to abstain; or pairs of a row and what is expected there."""


def about(
    labels: Sequence[str] | None = None, owner: str | None = None, examples: Examples | None = None
) -> Callable[[LabelingFunction], LabelingFunction]:
    """State the labels, the owner and examples of a row function; stands above ``@labeling_function()``.

    Parameters
    ----------
    labels : sequence of str or None
        The label names it may vote for; None allows all of the app's.
    owner : str or None
        Who answers for it; None leaves it to the file's ``OWNER``.
    examples : mapping or sequence of pairs, or None
        What it is expected to vote.

    Examples
    --------
    >>> from snorkel.labeling import labeling_function
    >>> @about(labels=["SPAM"], owner="ana", examples={"FREE!!": "SPAM", "free": None})
    ... @labeling_function()
    ... def shouts(x):
    ...     return "SPAM" if x.text.isupper() else None
    """

    def state(function: LabelingFunction) -> LabelingFunction:
        if not isinstance(function, LabelingFunction):
            raise FunctionError(f"about(...) stands above @labeling_function(), got {function!r} below it")
        if labels is not None:
            if isinstance(labels, str) or not labels:
                raise FunctionError(f"function '{function.name}': expected a list of label names, got {labels!r}")
            function.labels = tuple(labels)
        function.owner = owner
        function.examples = examples
        return function

    return state


def labels_of(function: LabelingFunction, app_labels: Sequence[str]) -> tuple[str, ...]:
    """Return the label names that a function may vote for: those it states, or all of the app's."""
    stated: Sequence[str] | None = getattr(function, "labels", None)
    return tuple(app_labels if stated is None else stated)


def number_labels(function: LabelingFunction, app_labels: Sequence[str]) -> dict[str, int]:
    """Return the number of each label that a function may vote for.

    Raises
    ------
    FunctionError
        If it states a name that the app does not have.
    """
    stated = labels_of(function, app_labels)
    for label in stated:
        if label not in app_labels:
            raise FunctionError(
                f"function '{function.name}': votes for '{label}'; expected one of the app's labels: {', '.join(app_labels)}"
            )
    return {label: app_labels.index(label) for label in stated}


def owner_of(function: LabelingFunction, default: str | None = None) -> str | None:
    """Return who answers for a function: as stated, or the default (a file's ``OWNER``)."""
    return getattr(function, "owner", None) or default


def examples_of(function: LabelingFunction) -> tuple[tuple[dict[str, Any], str | None], ...]:
    """Return a function's examples as pairs of a row's columns and the expected label's name, None to abstain.

    A text alone is a row whose column ``text`` it is; of a function that looks in one other column, that column.
    """
    examples: Examples = getattr(function, "examples", None) or {}
    if isinstance(examples, Mapping):
        field = getattr(function, "field", "text")
        return tuple(({field: text}, expected) for text, expected in examples.items())
    return tuple((dict(row), expected) for row, expected in examples)
