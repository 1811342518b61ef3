from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ledger.statement import PARTS, WAYS, Figure, Term, settle

values = st.floats(min_value=0, max_value=1e5, allow_nan=False)


@st.composite
def terms(draw):
    count = draw(st.integers(1, 12))
    return [
        Term(
            draw(st.sampled_from(PARTS)),
            draw(st.sampled_from(WAYS)),
            f"term {number}",
            tuple(Figure(f"f{number}.{i}", draw(values), "x", "a file: a key", "measured") for i in range(2)),
            (draw(st.sampled_from([1.0, 1e-9, 1 / 3600])), ""),
        )
        for number in range(count)
    ]


def cents(amount):
    """A sum of money as written, in whole cents: nothing is lost in a float with two digits after the point."""
    exact = Decimal(str(amount)) * 100
    assert exact == exact.to_integral_value()
    return int(exact)


@given(terms())
def test_it_adds_up_to_the_cent(drawn):
    statement = settle(drawn, "EUR")
    assert cents(statement["C_after"]) == cents(statement["C"]) - sum(cents(statement["delta"][p]) for p in PARTS)
    assert cents(statement["C"]) == sum(cents(statement["uncut"][p]) for p in PARTS)
    assert cents(statement["C_after"]) == sum(cents(statement["after"][p]) for p in PARTS)
    for part in PARTS:
        for way in WAYS:
            listed = [t for t in statement["terms"] if (t["part"], t["way"]) == (part, way)]
            assert cents(statement[way][part]) == sum(cents(t["amount"]) for t in listed)


@given(terms())
def test_every_figure_has_its_source(drawn):
    statement = settle(drawn, "EUR")
    named = {figure["name"] for figure in statement["figures"] if figure["source"] and figure["how"]}
    assert {factor.name for term in drawn for factor in term.factors} <= named
    assert {"C", "C_after", "delta.*", "uncut.*", "after.*", "saved"} <= named


def test_a_cent_is_rounded_half_up():
    half = Figure("half", 0.125, "EUR", "here", "price")
    assert Term("D", "uncut", "", (half,)).amount == Decimal("0.13")
