"""`account`: what the uncut way would have cost, what this way cost, and what was saved on each part.

The uncut way: every row of the training set labeled by hand; the teacher trained with no layer frozen; the teacher served in
full precision, in its fastest runtime. Both ways collect, fuse and load alike. What only the cut way does - embedding, voting, labeling,
auditing, distilling, substituting, compressing, evaluating - is counted against it.
"""

import json
import logging
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ledger.errors import DataError
from ledger.meter import Usage
from ledger.parameters import PARAMETERS_FILE, read_parameters
from ledger.places import Places
from ledger.prices import Prices
from ledger.stage import run_stage
from ledger.statement import Figure, Term, Way, settle

logger = logging.getLogger(__name__)

BOTH_WAYS = ("collect", "fuse")
"""Stages of which the uncut way needs the same."""

EARLIER = (*BOTH_WAYS, "embed", "vote", "label", "audit")
METERED = ("distill", "substitute", "compress", "evaluate")

PER_HOUR = (1 / 3600, " / 3600")
PER_HOUR_FROM_MS = (1 / 3.6e6, " / 3 600 000")
PER_GB = (1e-9, " / 10^9")


@dataclass(frozen=True)
class Document:
    """A JSON file, which gives figures that know where they stand in it."""

    path: Path
    content: dict[str, Any]

    def figure(self, name: str, key: str, unit: str, how: Any) -> Figure:
        """Return the number at a dotted key, or raise a DataError that names file and key."""
        value: Any = self.content
        for step in key.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if not isinstance(value, int | float):
            raise DataError(
                f"{self.path}: expected a number at '{key}', got {value!r}; run the stage that writes it again"
            )
        return Figure(name, float(value), unit, f"{self.path}: {key}", how)


def main(places: Places, usage: Usage) -> None:
    """Account for the app."""
    prices = read_parameters("prices", Prices)
    audit, functions, metrics = map(read, (places.audit_report, places.functions_report, places.metrics))
    teach = read(places.meter("teach"))
    meters = {stage: read(places.meter(stage)) for stage in METERED}

    terms = [
        *labels(audit, functions, prices),
        *hardware(teach, meters, prices),
        *model(metrics, prices),
        *algorithm(metrics, prices),
    ]
    missing = [stage for stage in EARLIER if not teach.content["earlier"].get(stage)]
    statement = settle(terms, prices.currency) | {
        "break_even_rows": break_even_rows(terms, prices),
        "notes": notes(missing),
    }
    places.statement.parent.mkdir(parents=True, exist_ok=True)
    places.statement.write_text(json.dumps(statement, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    logger.info(
        "C %.2f %s, C' %.2f: %.1f %% saved",
        statement["C"],
        prices.currency,
        statement["C_after"],
        100 * statement["saved"],
    )
    usage.figures["C_after"] = statement["C_after"]


def read(path: Path) -> Document:
    """Read a report or a meter."""
    try:
        return Document(path, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{path}: not found; run the pipeline first (`dvc repro`, or `pricecut run`)") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}); run the stage that writes it again") from None


def price(prices: Prices, key: str, unit: str) -> Figure:
    """Return a price of the sheet as a figure."""
    return Figure(f"price.{key}", float(getattr(prices, key)), unit, f"{PARAMETERS_FILE}: prices.{key}", "price")


def labels(audit: Document, functions: Document, prices: Prices) -> list[Term]:
    """D: a row at the price of a label, or the gold rows and the functions that replaced the others."""
    a_label = price(prices, "label", f"{prices.currency}/row")
    a_function = price(prices, "function", f"{prices.currency}/function")
    count = float(len(functions.content["functions"]))
    written = Figure("functions", count, "functions", f"{functions.path}: length of functions", "counted")
    rows = audit.figure("training_rows", "rows", "rows", "counted")
    gold = audit.figure("gold_rows", "gold", "rows", "counted")
    return [
        Term("D", "uncut", "every row of the training set labeled by hand", (rows, a_label)),
        Term("D", "after", "the gold sample labeled by hand", (gold, a_label)),
        Term("D", "after", "labeling functions written", (written, a_function)),
    ]


def hardware(teach: Document, meters: dict[str, Document], prices: Prices) -> list[Term]:
    """H: CPU and GPU seconds, from the first source to the model."""
    cpu = price(prices, "cpu_hour", f"{prices.currency}/h")
    terms: list[Term] = []
    for stage in EARLIER:
        if teach.content["earlier"].get(stage):
            used = teach.figure(f"{stage}.cpu_s", f"earlier.{stage}.cpu_s", "s", "measured")
            ways: tuple[Way, ...] = ("uncut", "after") if stage in BOTH_WAYS else ("after",)
            terms += [Term("H", way, f"{stage}: CPU", (used, cpu), PER_HOUR) for way in ways]
    whole = teach.figure("teach.cpu_s", "cpu_s", "s", "measured").value
    measuring = teach.figure("teach.measuring", "figures.measuring_cpu_s", "s", "measured").value
    trained = teach.figure("teach.train_cpu_s", "figures.train_cpu_s", "s", "measured")
    uncut = teach.figure("teach.uncut_cpu_s", "figures.uncut_cpu_s_extrapolated", "s", "extrapolated")
    around = Figure(
        "teach.around_cpu_s",
        round(whole - measuring - trained.value, 2),
        "s",
        f"{teach.path}: cpu_s - figures.measuring_cpu_s - figures.train_cpu_s",
        "measured",
    )
    terms += [
        Term("H", "uncut", "teach: loading, writing, the logits", (around, cpu), PER_HOUR),
        Term("H", "uncut", "teach: training with no layer frozen", (uncut, cpu), PER_HOUR),
        Term("H", "after", "teach: loading, writing, the logits", (around, cpu), PER_HOUR),
        Term("H", "after", "teach: training the last layers", (trained, cpu), PER_HOUR),
    ]
    gpu = price(prices, "gpu_hour", f"{prices.currency}/h")
    for stage, meter in {"teach": teach, **meters}.items():
        if stage != "teach":
            used = meter.figure(f"{stage}.cpu_s", "cpu_s", "s", "measured")
            terms.append(Term("H", "after", f"{stage}: CPU", (used, cpu), PER_HOUR))
        held = meter.figure(f"{stage}.gpu_s", "gpu_s", "s", "measured")
        if held.value:
            terms.append(Term("H", "after", f"{stage}: GPU", (held, gpu), PER_HOUR))
    return terms


def model(metrics: Document, prices: Prices) -> list[Term]:
    """M: bytes kept on every replica, and sent to it once a month."""
    money = prices.currency
    replicas, months = price(prices, "replicas", "replicas"), price(prices, "months", "months")
    keep = price(prices, "storage_gb_month", f"{money}/GB/month")
    send = price(prices, "transfer_gb", f"{money}/GB")
    terms: list[Term] = []
    for way, role in served():
        size = metrics.figure(f"{role}.bytes", f"{role}.bytes", "bytes", "measured")
        terms += [
            Term("M", way, f"the {role} kept on every replica", (size, keep, replicas, months), PER_GB),
            Term("M", way, f"the {role} sent to every replica, monthly", (size, send, replicas, months), PER_GB),
        ]
    return terms


def algorithm(metrics: Document, prices: Prices) -> list[Term]:
    """A: what answering costs: the median request on its threads, as often as it is asked."""
    cpu = price(prices, "cpu_hour", f"{prices.currency}/h")
    requests, months = price(prices, "requests_month", "requests/month"), price(prices, "months", "months")
    threads = metrics.figure("threads", "gates.threads", "threads", "counted")
    terms: list[Term] = []
    for way, role in served():
        latency = metrics.figure(f"{role}.latency_ms", f"{role}.latency_ms", "ms", "measured")
        factors = (latency, threads, requests, months, cpu)
        terms.append(Term("A", way, f"requests answered by the {role}", factors, PER_HOUR_FROM_MS))
    return terms


def served() -> tuple[tuple[Way, str], ...]:
    """Say which model each way serves."""
    return ("uncut", "teacher"), ("after", "student")


def break_even_rows(terms: list[Term], prices: Prices) -> int | None:
    """From how many rows on the functions are cheaper than labeling every row; None where a label costs nothing."""
    if prices.label == 0:
        return None
    spent = sum((term.amount for term in terms if (term.part, term.way) == ("D", "after")), Decimal(0))
    return int(spent // Decimal(str(prices.label))) + 1


def notes(missing: list[str]) -> list[str]:
    """Say what the statement leaves out, or takes for granted."""
    said = [
        "Labels of the test rows are needed both ways and are in neither sum.",
        "Training the teacher whole was not run: its CPU seconds are the timed steps of a throw-away copy times the number of steps.",
        "A request costs its median time on an otherwise idle core; machines that stand idle are not counted.",
        "Seconds of a GPU, where one was there, are counted for this way alone.",
        "`account` and `report` take seconds and are not counted.",
    ]
    if missing:
        said.append(
            f"{', '.join(missing)}: taken from DVC's cache, not run on the machine that trained; not measured, counted as nothing."
        )
    return said


if __name__ == "__main__":
    run_stage("account", main)
