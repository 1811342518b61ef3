"""Tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.results import Results
from ledger.statement import PART_NAMES


def share(value: float | None) -> str:
    """Write a share as a percentage; a dash for none."""
    return "–" if value is None else f"{100 * value:.1f} %"


def new_table(title: str, *columns: str) -> Table:
    """Begin a table; its first column is text, the others are figures."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def results_tables(results: Results) -> RenderableType:
    """Lay out an app's results: scores, the statement of costs, the report's path."""
    scores = new_table(
        f"{results.app}: measured on {results.test_rows} test messages", "", "accuracy", "macro-F1", "bytes", "ms"
    )
    for row in results.rows:
        size = "–" if row.bytes is None else f"{row.bytes:,}"
        latency = "–" if row.latency_ms is None else f"{row.latency_ms:.3f}"
        scores.add_row(f"{row.what} ({row.name})", share(row.accuracy), share(row.macro_f1), size, latency)
    s = results.statement
    costs = new_table(f"statement of costs, {s['currency']}", "", "uncut", "this way", "saved")
    for part, name in PART_NAMES.items():
        costs.add_row(
            f"{part} {name}", f"{s['uncut'][part]:,.2f}", f"{s['after'][part]:,.2f}", f"{s['delta'][part]:+,.2f}"
        )
    costs.add_section()
    costs.add_row(
        "C → C'", f"{s['C']:,.2f}", f"{s['C_after']:,.2f}", f"{s['C'] - s['C_after']:+,.2f} ({share(s['saved'])})"
    )
    parts: list[RenderableType] = [scores, costs]
    if not results.passed:
        missed = ", ".join(f"{gate} by {amount:g}" for gate, amount in results.misses.items())
        parts.append(
            Text(f"No student passes every gate of params.yaml; the best one misses {missed}.", style="bold red")
        )
    if results.generated:
        parts.append(Text(results.generated, style="dim"))
    parts.append(Text(f"Report: {results.report}"))
    return Group(*parts)


def apps_table(apps: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out the apps."""
    table = new_table("apps", "app", "question", "labels", "sources", "pipeline", "student's accuracy")
    for column in table.columns[1:5]:
        column.justify = "left"
    for app in apps:
        labels = ", ".join(app["labels"])
        table.add_row(app["app"], app["title"], labels, app["sources"], app["pipeline"], share(app["student_accuracy"]))
    return table
