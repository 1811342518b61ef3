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


def quality_against_cost(candidates: Sequence[Mapping[str, Any]]) -> str:
    """Draw every candidate's macro-F1 on the gold sample against its latency; the area of a dot is its bytes."""
    values = [
        {
            "name": row["name"],
            "latency_ms": row["latency_ms"],
            "macro_f1": row["macro_f1"],
            "megabytes": row["bytes"] / 1e6,
            "what": "chosen" if row["chosen"] else row["role"],
        }
        for row in candidates
    ]
    chart = (
        alt.Chart({"values": values})
        .mark_circle(opacity=0.75, stroke=INK, strokeWidth=0.5)
        .encode(
            x=alt.X("latency_ms:Q", title="ms a request (log)", scale=alt.Scale(type="log")),
            y=alt.Y("macro_f1:Q", title="macro-F1 on the gold sample", scale=alt.Scale(zero=False, padding=12)),
            size=alt.Size("megabytes:Q", title="megabytes", scale=alt.Scale(range=[40, 900])),
            color=alt.Color(
                "what:N",
                title=None,
                scale=alt.Scale(domain=["teacher", "student", "chosen"], range=[PLAIN, "#c9a227", SAVED]),
            ),
        )
        .properties(width=560, height=260)
    )
    return _svg(chart)


def _svg(chart: Any) -> str:
    styled = chart.configure(font=FONT, background="transparent").configure_view(stroke=None)
    return str(vl_convert.vegalite_to_svg(styled.to_dict()))
