"""What came of an app: the few figures that a person asks for first, from its reports."""

from dataclasses import asdict, dataclass
from typing import Any

from ledger.account import read
from ledger.places import Places


@dataclass(frozen=True)
class Scored:
    """One row of the result: labels, teacher or student.

    Attributes
    ----------
    what : str
        ``labels``, ``teacher`` or ``student``.
    name : str
        Which one.
    accuracy, macro_f1 : float or None
        On the test rows.
    bytes : int or None
        What has to be sent to serve it.
    latency_ms : float or None
        The median of one request.
    """

    what: str
    name: str
    accuracy: float | None
    macro_f1: float | None
    bytes: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True)
class Results:
    """An app's results.

    Attributes
    ----------
    app : str
        Its name.
    generated : str or None
        A sentence that says so, where its data are invented.
    test_rows : int
        What the scores rest on.
    rows : list of Scored
        Labels, teacher, student.
    passed : bool
        Whether the student passes every gate.
    misses : dict of str to float
        By how much it misses which.
    statement : dict
        ``currency``, ``C``, ``C_after``, ``saved``, ``uncut``, ``after``, ``delta``.
    report : str
        The page's path.
    """

    app: str
    generated: str | None
    test_rows: int
    rows: list[Scored]
    passed: bool
    misses: dict[str, float]
    statement: dict[str, Any]
    report: str

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def read_results(app: str) -> Results:
    """Read an app's results; raise a DataError where it has not been run."""
    places = Places(app)
    metrics, statement = read(places.metrics).content, read(places.statement).content
    collected = read(places.collect_report).content
    labeled = read(places.functions_report).content
    rows = [Scored("labels", labeled["label_model"], metrics["label"]["accuracy"], metrics["label"]["macro_f1"])]
    for role in ("teacher", "student"):
        it = metrics[role]
        rows.append(Scored(role, it["name"], it["accuracy"], it["macro_f1"], it["bytes"], it["latency_ms"]))
    kept = ("currency", "C", "C_after", "saved", "uncut", "after", "delta")
    return Results(
        app=app,
        generated=collected["generated"],
        test_rows=metrics["test_rows"],
        rows=rows,
        passed=metrics["gates"]["passed"],
        misses=metrics["gates"]["misses"],
        statement={key: statement[key] for key in kept},
        report=str(places.report),
    )


def as_markdown(results: Results) -> str:
    """Write results as Markdown, for Prefect's page of the run."""
    lines = [f"## {results.app}", "", "| | accuracy | macro-F1 | bytes | ms |", "|---|---|---|---|---|"]
    for row in results.rows:
        cells = (row.accuracy, row.macro_f1, row.bytes, row.latency_ms)
        lines.append(
            f"| {row.what} {row.name} | " + " | ".join("–" if cell is None else str(cell) for cell in cells) + " |"
        )
    s = results.statement
    gates = "passed" if results.passed else f"missed: {results.misses}"
    lines += [
        "",
        f"C {s['C']:.2f} → C′ {s['C_after']:.2f} {s['currency']}; Δ {s['delta']}",
        "",
        f"Gates {gates}. {results.report}",
    ]
    return "\n".join(lines)
