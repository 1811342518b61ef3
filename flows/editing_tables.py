"""Tables of the editing loop for the terminal."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.tables import new_table, share
from labeling.agreed import Agreed
from labeling.label_models.model import SHARES
from labeling.why import Why

CLIP = 200
"""Characters of a text that a table shows."""


def interval(ends: Sequence[float] | None) -> str:
    """Write an interval as percentages; a dash for none."""
    return "–" if ends is None else f"{100 * ends[0]:.0f}–{100 * ends[1]:.0f} %"


def text_table(title: str, figures: int, *columns: str) -> Table:
    """Begin a table whose columns are text, but for the last few, which are figures."""
    table = new_table(title, *columns)
    for column in table.columns[: len(columns) - figures]:
        column.justify = "left"
    return table


def clip(text: str) -> Text:
    """Write a text in short, on one line; what looks like markup stays text."""
    return Text(textwrap.shorten(text, CLIP, placeholder=" …"))


def named(labels: Sequence[str]) -> str:
    """Write labels in short."""
    return ", ".join(labels) if len(labels) <= 2 else f"{len(labels)} labels"


def functions_table(app: str, report: Mapping[str, Any]) -> RenderableType:
    """Lay out what each labeling function was worth."""
    shown = report["functions"]
    table = text_table(
        f"{app}: {len(shown)} labeling functions, label model '{report['label_model']}'",
        7,
        *("function", "kind", "votes for"),
        *("coverage", "overlaps", "conflicts", "right on gold", "95 %", "gold votes", "worth"),
    )
    owners = any(f.get("owner") for f in shown)
    if owners:
        table.add_column("owner")
    for f in shown:
        shares = [share(f[key]) for key in ("coverage", "overlaps", "conflicts", "accuracy_gold")]
        figures = [*shares, interval(f["interval_gold"]), str(f["gold_votes"]), share(f["worth"])]
        table.add_row(f["name"], f["kind"], named(f["labels"]), *figures, *([f.get("owner") or "–"] if owners else []))
    return Group(table, *(Text(line, style="dim") for line in notes_on_labels(report)))


def notes_on_labels(report: Mapping[str, Any]) -> list[str]:
    """Say how far the labels' probabilities can be taken at their word, whether texts were heard, and how gold was picked."""
    notes = []
    calibration, text = report["calibration"], report["text"]
    if calibration["gold_rows"]:
        low, high = calibration["ece_interval"]
        notes.append(
            f"calibration error of the label model on {calibration['gold_rows']} gold rows: {share(calibration['ece_raw'])} as fitted, "
            f"{share(calibration['ece'])} calibrated ({100 * low:.1f}–{100 * high:.1f} %)"
        )
    if "macro_f1" in text:
        heard = "texts are heard" if text["used"] else "texts are not heard"
        notes.append(
            f"{heard}: macro-F1 on gold rows not seen {share(text['macro_f1'])} with texts, {share(text['macro_f1_votes'])} by votes "
            f"alone; calibration error {share(text['ece'])} with texts"
        )
    else:
        notes.append("texts are heard" if text["used"] else f"texts are not heard: {text['why']}")
    if reviewed := report.get("gold_reviewed", 0):
        notes.append(
            f"{reviewed} of the gold rows were picked for review, so harder than others: an accuracy on them may look low."
        )
    return notes


def function_table(app: str, about: Mapping[str, Any]) -> RenderableType:
    """Lay out one function and its mistakes."""
    accuracy = share(about["accuracy_gold"])
    figures = (
        f"{about['kind']} for {', '.join(about['labels'])}; coverage {share(about['coverage'])}, overlaps {share(about['overlaps'])}, "
        f"conflicts {share(about['conflicts'])}; right on gold {accuracy} ({interval(about['interval_gold'])}) of "
        f"{about['gold_votes']} votes; worth {share(about['worth'])}; owner {about.get('owner') or '–'}"
    )
    on_gold = about["mistakes_by"] == "gold"
    title = (
        f"{about['mistakes']} mistakes on gold"
        if on_gold
        else f"no mistake on gold; {about['mistakes']} train rows where the label model thinks otherwise, the least believed vote first"
    )
    belief = [] if on_gold else ["belief"]
    table = text_table("", len(belief), "row", "it votes", "gold" if on_gold else "label model", "text", *belief)
    for row in about["examples"]:
        figure = [] if on_gold else [share(row["belief"])]
        table.add_row(row["row_id"], row["vote"], row["expected"], clip(row["text"]), *figure)
    shown = [table] if about["examples"] else []
    return Group(Text(f"{app}: {about['name']}", style="bold"), Text(figures), Text(), Text(title), *shown)


def changes_table(app: str, document: Mapping[str, Any]) -> RenderableType:
    """Lay out what an edit changed: figures a function, then rows that moved."""
    table = text_table(
        f"{app}: against {document['against']}, on {document['rows']} rows; covered {share(document['covered_before'])} → "
        f"{share(document['covered_after'])}",
        6,
        *("function", "", "votes", "gained", "lost", "flipped", "right on gold", "gold votes"),
    )
    moved = text_table("rows that moved", 0, "function", "row", "before", "after", "gold", "text")
    for f in document["functions"]:
        if f["status"] == "same votes":
            continue
        votes = f"{f['votes_before']} → {f['votes_after']}"
        right = f"{share(f['accuracy_before'])} → {share(f['accuracy_after'])}"
        on_gold = f"{f['gold_before']['votes']} → {f['gold_after']['votes']}"
        counts = [str(f[key]) for key in ("gained", "lost", "flipped")]
        table.add_row(f["name"], f["status"], votes, *counts, right, on_gold)
        for row in f["examples"]:
            cells = [row[key] or "–" for key in ("before", "after", "gold")]
            moved.add_row(f["name"], row["row_id"], *cells, clip(row["text"]))
    same = sum(f["status"] == "same votes" for f in document["functions"])
    told = Text(f"{same} {'' if table.row_count == 0 else 'other '}functions vote as they did.")
    parts: list[RenderableType] = [table, *([told] if same else []), Text(), moved]
    return Group(*parts) if table.row_count else told


def uncovered_table(app: str, document: Mapping[str, Any]) -> RenderableType:
    """Lay out the clusters of what no function votes on."""
    if not document["clusters"]:
        return Text(f"{app}: every one of the {document['train_rows']} train rows has a vote")
    table = text_table(
        f"{app}: no function votes on {document['uncovered']} of {document['train_rows']} train rows",
        0,
        *("rows", "terms", "row", "nearest texts"),
    )
    for cluster in document["clusters"]:
        for number, (row_id, text) in enumerate(cluster["examples"]):
            head = ("", "") if number else (str(cluster["size"]), ", ".join(cluster["terms"]) or "–")
            table.add_row(*head, row_id, clip(text))
        table.add_section()
    return table


def agreed_table(app: str, new: Mapping[str, Agreed], before: Mapping[str, Agreed], path: Path) -> RenderableType:
    """Lay out what was agreed."""
    table = new_table(f"{app}: agreed", "function", "right on gold", "at least", "before", "gold votes")
    for name, about in new.items():
        earlier = share(before[name].accuracy) if name in before else "–"
        table.add_row(name, share(about.measured), share(about.accuracy), earlier, str(about.votes))
    return Group(table, Text(f"wrote {path}; commit it"))


def why_table(why: Why) -> RenderableType:
    """Lay out a row's votes and what each weighed."""
    majority = why.label_model == SHARES
    title = f"what each vote weighs for '{why.label}' against '{why.next_label}'{'' if majority else ', in log odds'}:"
    table = text_table("", 2, "function", "votes", "weight", f"'{why.label}' without it")
    if not majority:
        table.add_row("(no vote)", "", f"{why.prior:+.2f}", "")
    for vote in why.votes:
        table.add_row(vote.function, vote.vote, f"{vote.weight:+.2f}", share(vote.without))
    table.add_section()
    table.add_row("together", "", f"{why.total:+.2f}", "")
    shares = ", ".join(f"{label} {share(p)}" for label, p in sorted(why.probabilities.items(), key=lambda one: -one[1]))
    gold = f", gold '{why.gold}'" if why.gold else ""
    return Group(
        Text(f"{why.row_id} ({why.split}{gold})", style="bold"),
        Text(why.text),
        Text(f"label model '{why.label_model}': {shares}"),
        Text(),
        Text(title),
        table,
        Text(f"{why.silent} functions abstain."),
    )
