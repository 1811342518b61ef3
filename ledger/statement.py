"""The arithmetic of the statement of costs: figures with their sources, terms of money, and their sum to the cent.

``C' = C - dD - dH - dM - dA``: what the uncut way would cost, less what was saved on labels (D), hardware (H),
model (M) and algorithm (A). A saving below zero is a cost more, and is stated as one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

PART_NAMES = {"D": "labels", "H": "hardware", "M": "model", "A": "algorithm"}
PARTS = tuple(PART_NAMES)
WAYS = ("uncut", "after")
CENT = Decimal("0.01")

Part = Literal["D", "H", "M", "A"]
Way = Literal["uncut", "after"]
How = Literal["counted", "measured", "extrapolated", "price"]


@dataclass(frozen=True)
class Figure:
    """A number, and where it came from.

    Attributes
    ----------
    name : str
        Unique in the statement.
    value : float
        The number, in ``unit``.
    unit : str
        Of the value.
    source : str
        ``file: key`` that holds it.
    how : str
        ``counted``, ``measured``, ``extrapolated`` (from something measured) or ``price`` (as the owner stated it).
    """

    name: str
    value: float
    unit: str
    source: str
    how: How


@dataclass(frozen=True)
class Term:
    """A sum of money: some figures multiplied.

    Attributes
    ----------
    part : str
        D, H, M or A.
    way : str
        ``uncut`` or ``after``.
    what : str
        What is paid for, for the reader.
    factors : tuple of Figure
        Multiplied.
    scale : tuple of (float, str)
        A unit's conversion: the number, and how it is written.
    """

    part: Part
    way: Way
    what: str
    factors: tuple[Figure, ...]
    scale: tuple[float, str] = (1.0, "")

    @property
    def amount(self) -> Decimal:
        """The money, rounded half up to the cent."""
        exact = Decimal(str(math.prod(factor.value for factor in self.factors) * self.scale[0]))
        return exact.quantize(CENT, rounding=ROUND_HALF_UP)

    @property
    def formula(self) -> str:
        """The names of the factors, as they are multiplied."""
        return " × ".join(factor.name for factor in self.factors) + self.scale[1]


def settle(terms: Sequence[Term], currency: str) -> dict[str, Any]:
    """Add terms up to a statement.

    Each term is rounded to the cent before anything is added, so every sum and difference is exact.

    Parameters
    ----------
    terms : sequence of Term
        Of both ways.
    currency : str
        As it is to be written.

    Returns
    -------
    dict
        ``C``, ``C_after``, ``saved`` (share of C), ``uncut``, ``after`` and ``delta`` (a sum a part), ``terms``, ``figures``.
    """
    sums = {way: {part: _total(terms, way, part) for part in PARTS} for way in WAYS}
    delta = {part: sums["uncut"][part] - sums["after"][part] for part in PARTS}
    whole = sum(sums["uncut"].values(), Decimal(0))
    remaining = whole - sum(delta.values(), Decimal(0))
    figures = {factor.name: factor for term in terms for factor in term.factors}
    return {
        "currency": currency,
        "C": float(whole),
        "C_after": float(remaining),
        "saved": round(float((whole - remaining) / whole), 4) if whole else 0.0,
        "delta": {part: float(amount) for part, amount in delta.items()},
        "uncut": {part: float(amount) for part, amount in sums["uncut"].items()},
        "after": {part: float(amount) for part, amount in sums["after"].items()},
        "terms": [
            {
                "part": term.part,
                "way": term.way,
                "what": term.what,
                "formula": term.formula,
                "amount": float(term.amount),
            }
            for term in terms
        ],
        "figures": [vars(figure) for figure in figures.values()] + derived(),
    }


def derived() -> list[dict[str, str]]:
    """Say of every figure that the statement itself works out how it does."""
    lines = {
        "uncut.*": "the sum of 'terms' of the way 'uncut', a part",
        "after.*": "the sum of 'terms' of the way 'after', a part",
        "delta.*": "uncut - after, a part; below zero where the cut way costs more",
        "C": "D + H + M + A of 'uncut'",
        "C_after": "C - (delta.D + delta.H + delta.M + delta.A)",
        "saved": "(C - C_after) / C",
    }
    return [{"name": name, "source": "this file", "how": how} for name, how in lines.items()]


def _total(terms: Sequence[Term], way: str, part: str) -> Decimal:
    return sum((term.amount for term in terms if (term.way, term.part) == (way, part)), Decimal(0))
