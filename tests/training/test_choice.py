from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.choice import Confidence, Gates, Measured, best_teacher, choose, cost, front, misses, rounded, sure_of

GATES = Gates(retained_macro_f1=0.95, bytes=5_000_000, latency_ms=2.0)
TEACHER = Measured(
    "teacher-litert-float32",
    "teacher",
    "litert",
    "float32",
    90_000_000,
    5.0,
    200.0,
    0.9,
    0.9,
    [0.85, 0.95],
    [0.85, 0.95],
)

students = st.builds(
    replace,
    st.just(replace(TEACHER, role="student")),
    name=st.text(alphabet="abcdef", min_size=1, max_size=5),
    bytes=st.integers(100_000, 20_000_000),
    latency_ms=st.floats(0.05, 10),
    macro_f1=st.floats(0, 1),
)


def student(name: str, size: int, latency: float, f1: float) -> Measured:
    return replace(TEACHER, name=name, role="student", bytes=size, latency_ms=latency, macro_f1=f1)


@given(st.lists(students, min_size=1, max_size=8, unique_by=lambda s: s.name))
def test_what_is_chosen(candidates: list[Measured]):
    choice = choose([TEACHER, *candidates], GATES)
    passing = [c for c in candidates if not misses(c, TEACHER, GATES)]
    assert choice.student in candidates
    assert choice.passed == bool(passing)
    if passing:
        assert choice.student in passing and not choice.misses
        least = min(map(cost, passing))
        assert cost(choice.student) <= 1.25 * least
        assert all(choice.student.bytes <= c.bytes for c in passing if cost(c) <= 1.25 * least)
    else:
        assert choice.misses
        assert choice.student.macro_f1 == max(c.macro_f1 for c in candidates)


@given(st.lists(students, min_size=1, max_size=8, unique_by=lambda s: s.name), st.randoms())
def test_the_order_of_candidates_does_not_matter(candidates: list[Measured], random):
    mixed = [*candidates, TEACHER]
    random.shuffle(mixed)
    assert choose(mixed, GATES) == choose([TEACHER, *candidates], GATES)


def test_the_cheapest_that_passes():
    good, cheap, poor = (
        student("good", 2_000_000, 1.0, 0.95),
        student("cheap", 1_000_000, 0.5, 0.86),
        student("poor", 500_000, 0.1, 0.7),
    )
    choice = choose([TEACHER, good, cheap, poor], GATES)
    assert (choice.student, choice.passed, choice.misses) == (cheap, True, {})


def test_a_jitter_of_the_clock_does_not_change_the_choice():
    small, fast = student("small", 1_000_000, 0.11, 0.9), student("fast", 1_050_000, 0.10, 0.9)
    for factor in (0.95, 1.0, 1.05):
        assert choose([TEACHER, replace(small, latency_ms=0.11 * factor), fast], GATES).student.name == "small"


def test_where_none_passes_the_best_is_taken_and_says_by_how_much_it_misses():
    choice = choose([TEACHER, student("a", 6_000_000, 3.0, 0.72), student("b", 1_000_000, 0.1, 0.5)], GATES)
    assert choice.student.name == "a" and not choice.passed
    assert choice.misses == pytest.approx({"retained_macro_f1": 0.15, "bytes": 1_000_000, "latency_ms": 1.0})


def test_the_fastest_teacher_is_the_yardstick():
    slower = replace(TEACHER, name="teacher-onnx-float32", latency_ms=6.0)
    assert best_teacher([slower, TEACHER]) is TEACHER


def test_a_teacher_that_scores_nothing_is_no_gate():
    assert not misses(student("a", 1, 0.1, 0.0), replace(TEACHER, macro_f1=0.0), GATES)


def test_rounding():
    assert rounded(student("a", 1, 0.123456, 0.98765)).latency_ms == 0.123


@given(st.lists(students, min_size=1, max_size=8, unique_by=lambda s: s.name))
def test_whatever_is_not_on_the_front_is_beaten_by_one_that_is(candidates: list[Measured]):
    names = front(candidates)
    on_it = [c for c in candidates if c.name in names]
    assert on_it
    for candidate in candidates:
        if candidate.name not in names:
            assert any(
                c.macro_f1 >= candidate.macro_f1 and c.bytes <= candidate.bytes and c.latency_ms <= candidate.latency_ms
                for c in on_it
            )


def test_the_low_end_of_the_interval_may_have_to_pass():
    unsure = replace(student("a", 1_000_000, 0.1, 0.89), retained_interval=[0.93, 1.01])
    assert not misses(unsure, TEACHER, GATES)
    lower = GATES.model_copy(update={"confidence": "lower"})
    assert misses(unsure, TEACHER, lower) == pytest.approx({"retained_macro_f1": 0.02})


def test_a_standard_error_may_have_to_be_spared():
    gates = GATES.model_copy(update={"confidence": "standard_error"})
    same = replace(student("a", 1_000_000, 0.1, 0.9), retained_interval=[1.0, 1.0])
    other = replace(same, retained_interval=[0.86, 1.1344])  # as often right, on other rows: 1 - 0.2744 / 3.92
    assert not misses(same, TEACHER, gates)
    assert misses(other, TEACHER, gates) == pytest.approx({"retained_macro_f1": 0.02})
    assert not misses(other, TEACHER, GATES)


@given(st.floats(0.1, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_surer_the_gate_the_less_passes(f1: float, below: float, above: float):
    retained = f1 / TEACHER.macro_f1
    it = replace(student("a", 1, 0.1, f1), retained_interval=[retained - below, retained + above])
    held = {each: sure_of(it, TEACHER, each) for each in get_args(Confidence)}
    assert held["point"] >= held["standard_error"]
    if above <= 2.92 * below:  # an interval that leans to the other side has its low end close by
        assert held["standard_error"] >= held["lower"] - 1e-9


def test_optional_gates():
    gates = GATES.model_copy(update={"robustness": 0.05, "worst_slice": 0.8})
    weak = replace(student("a", 1_000_000, 0.1, 0.9), robustness_drop=0.12, worst_slice=0.7)
    assert misses(weak, TEACHER, gates) == pytest.approx({"robustness": 0.07, "worst_slice": 0.1})
    assert not misses(weak, TEACHER, GATES)
    cascade = replace(student("a", 1_000_000, 0.1, 0.9), latency_p95_ms=3.0)  # fast where its bag is sure
    assert misses(cascade, TEACHER, GATES.model_copy(update={"latency_p95_ms": 2.0})) == {"latency_p95_ms": 1.0}
    assert not misses(cascade, TEACHER, GATES)
    assert set(GATES.asked()) == {"retained_macro_f1", "bytes", "latency_ms"}
