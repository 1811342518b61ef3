"""Runs the examples that stand beside labeling functions: a text, and the vote expected on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from snorkel.labeling import LabelingFunction

from labeling.functions import ABSTAIN, examples_of, line_of_function
from labeling.vote import vote_all
from ledger.errors import FunctionError


def failing_examples(
    functions: Sequence[LabelingFunction], labels: Sequence[str], fields: Sequence[str], path: Path
) -> list[str]:
    """Run every function's examples and say which fail.

    Parameters
    ----------
    functions : sequence of LabelingFunction
        The app's, all of them: rules read the votes of others.
    labels : sequence of str
        The app's.
    fields : sequence of str
        The app's fields; null in an example that does not state them.
    path : Path
        Their file, for the messages.

    Returns
    -------
    list of str
        One sentence a failing example: ``file:line``, function, text, what was expected and what it voted.
    """
    faults = []
    for function in functions:
        examples = examples_of(function)
        if not examples:
            continue
        here = f"{path}:{line_of_function(path, function.name)}: function '{function.name}'"
        unknown = sorted({str(label) for _, label in examples if label is not None and label not in labels})
        if unknown:
            faults.append(f"{here}: an example expects '{unknown[0]}'; expected one of {', '.join(labels)}, or None")
            continue
        rows = as_rows([row for row, _ in examples], fields)
        needed = needed_by(function, functions)
        try:
            voted = vote_all(needed, rows, labels)[-1]
        except FunctionError as error:
            faults.append(f"{here}: its examples cannot be run: {error}")
            continue
        if voted.errors:
            faults.append(f"{here}: raises on {voted.errors} of its examples; first: {voted.first_error}")
        for (row, expected), vote in zip(examples, voted.column, strict=True):
            got = None if vote == ABSTAIN else labels[vote]
            if got != expected:
                line = line_of_example(path, function.name, row)
                faults.append(
                    f"{path}:{line}: function '{function.name}': on {_shown(row)} expected {_vote(expected)}, got {_vote(got)}; mend the "
                    "function, or the example"
                )
    return faults


def needed_by(function: LabelingFunction, functions: Sequence[LabelingFunction]) -> list[LabelingFunction]:
    """Return the functions whose votes a function reads, directly or through others, in their order, and itself last."""
    names, reads = {function.name}, list(getattr(function, "reads_votes", ()))
    by_name = {one.name: one for one in functions}
    while reads:
        name = reads.pop()
        if name not in names and name in by_name:
            names.add(name)
            reads.extend(getattr(by_name[name], "reads_votes", ()))
    return [*(one for one in functions if one.name in names and one is not function), function]


def as_rows(examples: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> pl.DataFrame:
    """Lay examples out as rows of a corpus: ``row_id`` (``example 1``, ...), ``text`` and the app's fields, null where not stated."""
    stated = dict.fromkeys(name for example in examples for name in example)
    columns = dict.fromkeys(["text", *fields, *stated])
    table = pl.DataFrame(
        [
            {"row_id": f"example {n}"} | {name: example.get(name) for name in columns}
            for n, example in enumerate(examples, 1)
        ],
        infer_schema_length=None,
    )
    return table.with_columns(pl.col(pl.Null).cast(pl.String))


def line_of_example(path: Path, name: str, row: Mapping[str, Any]) -> int:
    """Find the line on which an example's text stands, at or after its function's; that of the function where it does not."""
    start = line_of_function(path, name)
    text = str(next(iter(row.values()), ""))
    written = (text, text.encode("unicode_escape").decode(), repr(text)[1:-1])
    lines = path.read_text(encoding="utf-8").splitlines()
    # About a row function stands above its `def`.
    order = [*range(start - 1, len(lines)), *range(start - 2, -1, -1)]
    return next((i + 1 for i in order if text and any(one in lines[i] for one in written)), start)


def _shown(row: Mapping[str, Any]) -> str:
    return repr(next(iter(row.values()))) if len(row) == 1 else repr(dict(row))


def _vote(label: str | None) -> str:
    return "abstain" if label is None else f"'{label}'"
