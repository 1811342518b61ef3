"""Charts of the report, as SVG text that needs no script and no network."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

from ledger.statement import PART_NAMES, PARTS

FONT = "system-ui, sans-serif"
INK, SAVED, SPENT, PLAIN = "#1d2733", "#1a7f5a", "#b4462f", "#5b6b7c"


def waterfall(statement: Mapping[str, Any]) -> str:
    """Draw how C becomes C': a bar for each, and one for each part's saving between them."""
    level = float(statement["C"])
    bars: list[dict[str, str | float]] = [{"step": "C", "low": 0.0, "high": level, "kind": "total", "amount": level}]
    for part in PARTS:
        saving = float(statement["delta"][part])
        ends = sorted((level, level - saving))
        kind = "saved" if saving >= 0 else "spent more"
        bars.append(
            {
                "step": f"Δ{part} {PART_NAMES[part]}",
                "low": ends[0],
                "high": ends[1],
                "kind": kind,
                "amount": -saving or 0.0,
            }
        )
        level -= saving
    bars.append({"step": "C′", "low": 0.0, "high": float(statement["C_after"]), "kind": "total", "amount": level})
    top = max(float(bar["high"]) for bar in bars) or 1.0
    order = [str(bar["step"]) for bar in bars]
    x = alt.X("step:N", sort=order, title=None, axis=alt.Axis(labelAngle=0))
    base = alt.Chart({"values": bars}).encode(x=x)
    colour = alt.Color(
        "kind:N", scale=alt.Scale(domain=["total", "saved", "spent more"], range=[PLAIN, SAVED, SPENT]), legend=None
    )
    rectangles = base.mark_bar(size=54).encode(
        y=alt.Y("low:Q", title=str(statement["currency"]), scale=alt.Scale(domain=[0, 1.12 * top])),
        y2="high:Q",
        color=colour,
    )
    amounts = base.mark_text(dy=-8, fontSize=12, color=INK).encode(
        y="high:Q", text=alt.Text("amount:Q", format="+,.2f")
    )
    return _svg(alt.layer(rectangles, amounts).properties(width=620, height=240))


def quality_against_cost(candidates: Sequence[Mapping[str, Any]], asked: Mapping[str, Any] | None = None) -> str:
    """Draw every candidate's macro-F1 on the gold sample against its latency; the area of a dot is its bytes.

    A line joins the candidates on the front in score and latency; dashes stand where the gates do.

    Parameters
    ----------
    candidates : sequence of mappings
        The rows of ``candidates.json``.
    asked : mapping, optional
        ``gates.asked`` of ``metrics.json``.
    """
    values = [
        {
            "name": row["name"],
            "latency_ms": row["latency_ms"],
            "macro_f1": row["macro_f1"],
            "megabytes": row["bytes"] / 1e6,
            "what": "chosen" if row["chosen"] else row["role"],
            "front": bool(row.get("front")),
        }
        for row in candidates
    ]
    # Zero cannot be drawn on a logarithm's scale.
    x = alt.X("latency_ms:Q", title="ms a request (log)", scale=alt.Scale(type="log", nice=False, padding=24))
    y = alt.Y("macro_f1:Q", title="macro-F1 on the gold sample", scale=alt.Scale(zero=False, padding=18))
    layers: list[Any] = []
    best = -1.0
    steps = []
    for row in sorted(values, key=lambda it: (it["latency_ms"], -float(it["macro_f1"]))):
        if row["macro_f1"] > best:
            best = row["macro_f1"]
            steps.append(row)
    layers.append(
        alt.Chart({"values": steps})
        .mark_line(interpolate="step-after", color=PLAIN, opacity=0.5, strokeWidth=1.5)
        .encode(x=x, y=y)
    )
    uncut = max((row["macro_f1"] for row in candidates if row["role"] == "teacher"), default=None)
    gates = asked or {}
    if uncut is not None and "retained_macro_f1" in gates:
        at = [{"macro_f1": uncut * float(gates["retained_macro_f1"])}]
        layers.append(alt.Chart({"values": at}).mark_rule(color=SPENT, strokeDash=[5, 4]).encode(y=y))
    slowest = max((row["latency_ms"] for row in values), default=0.0)
    if 0 < float(gates.get("latency_ms", 0)) <= 2 * slowest:
        at = [{"latency_ms": float(gates["latency_ms"])}]
        layers.append(alt.Chart({"values": at}).mark_rule(color=SPENT, strokeDash=[5, 4]).encode(x=x))
    layers.append(
        alt.Chart({"values": values})
        .mark_circle(opacity=0.75)
        .encode(
            x=x,
            y=y,
            size=alt.Size("megabytes:Q", title="MB", scale=alt.Scale(range=[40, 900])),
            stroke=alt.condition("datum.front", alt.value(INK), alt.value("transparent")),
            strokeWidth=alt.value(1.5),
            color=alt.Color(
                "what:N",
                title=None,
                scale=alt.Scale(domain=["teacher", "student", "chosen"], range=[PLAIN, "#c9a227", SAVED]),
            ),
        )
    )
    layers.append(
        alt.Chart({"values": [row for row in values if row["what"] == "chosen"]})
        .mark_text(dy=-14, fontSize=12, color=INK)
        .encode(x=x, y=y, text="name:N")
    )
    return _svg(alt.layer(*layers).properties(width=620, height=280))


def _svg(chart: Any) -> str:
    styled = chart.configure(font=FONT, background="transparent").configure_view(stroke=None)
    return str(vl_convert.vegalite_to_svg(styled.to_dict()))
