"""`report`: everything that was measured, on one HTML page that works offline."""

import logging
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ledger.account import read
from ledger.charts import quality_against_cost, waterfall
from ledger.meter import Usage
from ledger.places import Places
from ledger.stage import run_stage
from ledger.statement import PART_NAMES

logger = logging.getLogger(__name__)

TEMPLATE = "report.html.j2"


def main(places: Places, usage: Usage) -> None:
    """Write the app's page."""
    facts = {
        name: read(path).content
        for name, path in {
            "collect": places.collect_report,
            "fuse": places.fuse_report,
            "votes": places.vote_report,
            "labeling": places.functions_report,
            "audit": places.audit_report,
            "metrics": places.metrics,
            "candidates": places.candidates_report,
            "statement": places.statement,
        }.items()
    }
    page = render(places.app, facts)
    places.report.parent.mkdir(parents=True, exist_ok=True)
    places.report.write_text(page, encoding="utf-8")
    logger.info("%s", places.report)
    usage.figures["bytes"] = len(page.encode())


def render(app: str, facts: dict[str, Any]) -> str:
    """Render the page from the reports of the stages; text of the data is escaped.

    Parameters
    ----------
    app : str
        The app's name.
    facts : dict
        ``collect``, ``fuse``, ``votes``, ``labeling``, ``audit``, ``metrics``, ``candidates``, ``statement``, as read.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, interval=interval, megabytes=megabytes, money=money)
    candidates = sorted(facts["candidates"], key=lambda row: (row["role"] != "teacher", -row["macro_f1"], row["bytes"]))
    errors = {function["name"]: function for function in facts["votes"]["functions"]}
    return environment.get_template(TEMPLATE).render(
        app=app,
        **facts | {"candidates": candidates},
        errors=errors,
        part_names=PART_NAMES,
        months=months(facts["statement"]),
        # Drawn from numbers and the candidates' own names; nothing of the data is in them.
        waterfall=Markup(waterfall(facts["statement"])),
        scatter=Markup(quality_against_cost(facts["candidates"], facts["metrics"]["gates"]["asked"])),
    )


def months(statement: dict[str, Any]) -> int:
    """Return for how many months the statement reckons."""
    return int(next(figure["value"] for figure in statement["figures"] if figure["name"] == "price.months"))


def percent(share: float | None) -> str:
    """Write a share as a percentage; a dash for none.

    Examples
    --------
    >>> percent(0.9444)
    '94.4 %'
    """
    return "–" if share is None else f"{100 * share:.1f} %"


def interval(ends: list[float] | None) -> str:
    """Write a 95 % interval of shares."""
    return "" if ends is None else f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def megabytes(size: float) -> str:
    """Write bytes as megabytes (10^6)."""
    return f"{size / 1e6:.2f} MB"


def money(amount: float) -> str:
    """Write money, the sign in front.

    Examples
    --------
    >>> money(-1234.5)
    '−1,234.50'
    """
    return f"{amount:,.2f}".replace("-", "−")


if __name__ == "__main__":
    run_stage("report", main)
