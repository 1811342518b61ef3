import random

from hypothesis import given
from hypothesis import strategies as st

from labeling.reconcile import estimate_reliability, reconcile

SOURCES = ("email", "chat", "tickets")


def test_the_more_reliable_source_is_believed():
    assert reconcile([("chat", "basic"), ("tickets", "premium")], {"chat": 0.7, "tickets": 0.95}) == "premium"


def test_two_that_agree_outweigh_one_a_little_better():
    claims = [("chat", "a"), ("email", "a"), ("tickets", "b")]
    assert reconcile(claims, {"chat": 0.8, "email": 0.8, "tickets": 0.9}) == "a"


def test_nobody_says_anything():
    assert reconcile([], {}) is None


@given(st.permutations([("chat", "a"), ("email", "b"), ("tickets", "c"), ("email", "c")]))
def test_the_order_of_claims_does_not_matter(claims):
    assert reconcile(claims, dict.fromkeys(SOURCES, 0.8)) == "c"


def test_reliability_is_found_out_from_disagreement():
    draw = random.Random(1)
    right = {"email": 0.9, "chat": 0.6, "tickets": 0.97}
    disputes = [
        [(s, "true" if draw.random() < right[s] else f"wrong{draw.randrange(3)}") for s in draw.sample(SOURCES, 2)]
        for _ in range(600)
    ]
    found = estimate_reliability(disputes, dict.fromkeys(SOURCES))
    assert found["chat"] < found["email"] <= 1
    assert found["chat"] < found["tickets"]
    assert abs(found["chat"] - right["chat"]) < 0.12


def test_a_stated_reliability_is_kept():
    assert estimate_reliability([[("chat", "a"), ("email", "b")]], {"chat": 0.5, "email": None})["chat"] == 0.5


def test_what_contradicts_a_trusted_source_loses():
    disputes = [[("chat", "x"), ("email", "y")]] * 50
    found = estimate_reliability(disputes, {"chat": None, "email": 0.99})
    assert found["chat"] < 0.2
