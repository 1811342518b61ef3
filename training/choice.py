"""Which candidate is published: the cheapest that passes the gates. Pure functions over measurements."""

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from ledger.parameters import Parameters

AS_CHEAP = 1.25
"""Candidates whose cost is within this factor of the least count as equally cheap: clocks are no finer, and the choice
should not change from run to run."""
STANDARD_ERRORS = 3.92
"""The width of a 95 % interval of a normal distribution."""
Confidence = Literal["point", "standard_error", "lower"]
"""What has to reach the share to keep: see `sure_of`."""


class Gates(Parameters):
    """What a candidate has to keep to: ``evaluate.gates`` of ``params.yaml``; the last four are asked only where they stand there."""

    retained_macro_f1: float = Field(ge=0)
    bytes: int = Field(gt=0)
    latency_ms: float = Field(gt=0)
    confidence: Confidence = "point"
    latency_p95_ms: float | None = Field(default=None, gt=0)
    robustness: float | None = Field(default=None, ge=0, le=1)
    worst_slice: float | None = Field(default=None, ge=0, le=1)

    def asked(self) -> dict[str, float | str]:
        """Return the gates that are asked."""
        return self.model_dump(exclude_none=True, exclude_defaults=True)


@dataclass(frozen=True)
class Measured:
    """A candidate, measured on the sample that the choice is made by.

    Attributes
    ----------
    name, role, format, precision : str
        As on its card.
    bytes : int
        What has to be sent to serve it.
    latency_ms : float
        The median of one request.
    texts_per_s : float
        In batches of 64.
    accuracy, macro_f1 : float
        On the sample.
    accuracy_interval, macro_f1_interval : list of float
        Low and high end, 95 %.
    retained_interval : list of float or None
        Of the share of the teacher's macro-F1 that is kept, 95 %, on the same resampled rows.
    latency_p95_ms : float or None
        The 95th percentile of one request.
    joules_per_1000 : float or None
        Energy of 1,000 requests; None where the machine does not tell.
    worst_slice : float or None
        The least accuracy on a label or a length of at least ten rows.
    robustness_drop : float or None
        The most accuracy lost to typos or case; None where no gate asks.
    """

    name: str
    role: str
    format: str
    precision: str
    bytes: int
    latency_ms: float
    texts_per_s: float
    accuracy: float
    macro_f1: float
    accuracy_interval: list[float]
    macro_f1_interval: list[float]
    retained_interval: list[float] | None = None
    latency_p95_ms: float | None = None
    joules_per_1000: float | None = None
    worst_slice: float | None = None
    robustness_drop: float | None = None


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes
    ----------
    student : Measured
        To be published.
    teacher : Measured
        The uncut way that it is compared with.
    passed : bool
        Whether the student passes every gate.
    misses : dict of str to float
        For each gate it fails, by how much; empty where it passes.
    """

    student: Measured
    teacher: Measured
    passed: bool
    misses: dict[str, float]


def best_teacher(candidates: list[Measured]) -> Measured:
    """Return the teacher in its fastest runtime, so that the comparison does not favour the student."""
    return min((c for c in candidates if c.role == "teacher"), key=lambda c: (c.latency_ms, c.name))


def sure_of(candidate: Measured, teacher: Measured, confidence: Confidence) -> float:
    """Return the share of the teacher's macro-F1 that a candidate is held to keep.

    ``point``: what it keeps on the sample. ``standard_error``: one standard error less (Breiman et al. 1984, section 3.4.3, whose
    rule it is turned round: there the simplest tree within one of the best). The interval is paired, so a candidate that is
    right on the same rows as the teacher loses next to nothing by it, and one that is as often right on others is found out.
    ``lower``: the low end of the 95 % interval.
    """
    retained = candidate.macro_f1 / teacher.macro_f1 if teacher.macro_f1 > 0 else 1.0
    if candidate.retained_interval is None or confidence == "point":
        return retained
    low, high = candidate.retained_interval
    return low if confidence == "lower" else retained - (high - low) / STANDARD_ERRORS


def misses(candidate: Measured, teacher: Measured, gates: Gates) -> dict[str, float]:
    """Return by how much a candidate fails each gate; empty if it passes all.

    ``retained_macro_f1`` is missed by a share of the teacher's macro-F1, ``bytes`` by bytes, ``latency_ms`` and ``latency_p95_ms`` by ms,
    ``robustness`` and ``worst_slice`` by accuracy. What has to reach ``retained_macro_f1`` is said by ``confidence``: see `sure_of`.
    """
    over = {
        "retained_macro_f1": gates.retained_macro_f1 - sure_of(candidate, teacher, gates.confidence),
        "bytes": float(candidate.bytes - gates.bytes),
        "latency_ms": candidate.latency_ms - gates.latency_ms,
    }
    if gates.latency_p95_ms is not None and candidate.latency_p95_ms is not None:
        over["latency_p95_ms"] = candidate.latency_p95_ms - gates.latency_p95_ms
    if gates.robustness is not None and candidate.robustness_drop is not None:
        over["robustness"] = candidate.robustness_drop - gates.robustness
    if gates.worst_slice is not None and candidate.worst_slice is not None:
        over["worst_slice"] = gates.worst_slice - candidate.worst_slice
    return {gate: amount for gate, amount in over.items() if amount > 0}


def front(candidates: list[Measured]) -> set[str]:
    """Return the names of the candidates that no other one beats: none is as good in macro-F1, bytes and latency, and better in one."""

    def beats(one: Measured, other: Measured) -> bool:
        ours, theirs = ((-c.macro_f1, c.bytes, c.latency_ms) for c in (one, other))
        return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))

    return {it.name for it in candidates if not any(beats(other, it) for other in candidates)}


def cost(candidate: Measured) -> float:
    """Return what the choice is to make small: bytes times milliseconds, so that halving either counts the same."""
    return candidate.bytes * candidate.latency_ms


def choose(candidates: list[Measured], gates: Gates) -> Choice:
    """Choose the cheapest student that passes every gate; if none does, the one with the best macro-F1.

    Cost is bytes × latency. Latencies jitter, so candidates within 25 % of the least cost are held equal, and the
    fewest bytes decide between them. Equal macro-F1 is decided by cost.

    Parameters
    ----------
    candidates : list of Measured
        At least one teacher and one student.
    gates : Gates
        From ``params.yaml``.
    """
    teacher = best_teacher(candidates)
    students = [candidate for candidate in candidates if candidate.role == "student"]
    passing = [student for student in students if not misses(student, teacher, gates)]
    if passing:
        least = min(cost(student) for student in passing)
        equal = [student for student in passing if cost(student) <= least * AS_CHEAP]
        chosen = min(equal, key=lambda student: (student.bytes, student.name))
    else:
        chosen = min(students, key=lambda student: (-student.macro_f1, cost(student), student.name))
    return Choice(chosen, teacher, bool(passing), misses(chosen, teacher, gates))


def rounded(candidate: Measured) -> Measured:
    """Round to what the measurement can tell apart."""

    def digits(value: float | None, places: int) -> float | None:
        return None if value is None else round(value, places)

    return replace(
        candidate,
        latency_ms=round(candidate.latency_ms, 3),
        texts_per_s=round(candidate.texts_per_s, 0),
        accuracy=round(candidate.accuracy, 4),
        macro_f1=round(candidate.macro_f1, 4),
        accuracy_interval=[round(end, 4) for end in candidate.accuracy_interval],
        macro_f1_interval=[round(end, 4) for end in candidate.macro_f1_interval],
        retained_interval=candidate.retained_interval and [round(end, 4) for end in candidate.retained_interval],
        latency_p95_ms=digits(candidate.latency_p95_ms, 3),
        joules_per_1000=digits(candidate.joules_per_1000, 2),
        worst_slice=digits(candidate.worst_slice, 4),
        robustness_drop=digits(candidate.robustness_drop, 4),
    )
