"""What ``pricecut run --explain`` shows: for each stage, why it would run, or why not."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from flows.causes import IN_QUESTION
from flows.changes import Reason, Verdict, explain
from flows.shell import show
from flows.tables import new_table

WOULD = {
    Verdict.RUN: ("run", "bold yellow"),
    Verdict.RESTORE: ("come from the cache", "cyan"),
    Verdict.DEPENDS: ("perhaps run", "yellow"),
    Verdict.KEEP: ("stay", "dim"),
}


def show_reasons(targets: Iterable[str], as_json: bool) -> None:
    """Print why each stage that a run of the targets would look at would run, or why not; nothing is run."""
    reasons = explain(targets)
    show([reason.as_json() for reason in reasons], reasons_table(reasons), as_json)


def reasons_table(reasons: Sequence[Reason]) -> Table:
    """Lay out the reasons, a line each."""
    verdicts = [reason.verdict for reason in reasons]
    counts = ", ".join(f"{verdicts.count(verdict)} {WOULD[verdict][0]}" for verdict in WOULD if verdict in verdicts)
    table = new_table(f"of {len(reasons)} stages would {counts}", "stage", "would", "why")
    for column in table.columns[1:]:
        column.justify = "left"
    for reason in reasons:
        said, style = WOULD[reason.verdict]
        told = [cause.said for cause in reason.causes if cause.kind != IN_QUESTION]
        waited_for = dict.fromkeys(cause.what for cause in reason.causes if cause.kind == IN_QUESTION)
        if waited_for:
            told.append(f"if what it reads of {', '.join(waited_for)} comes out different")
        why = "\n".join(told) or "as it was left"
        table.add_row(reason.stage, Text(said, style=style), Text(why, style=style if not reason.causes else ""))
    return table
