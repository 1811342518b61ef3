"""What the study of the gates says of candidates whose worth is known."""

import numpy as np

from benchmarks.gate import study, unscored
from training.artifact import Card
from training.choice import Measured
from training.latency import Speed


def candidate(name: str, role: str, size: int) -> Measured:
    card = Card.model_construct(name=name, role=role, format="litert", precision="float32")
    return unscored(card, size, Speed(1.0, 1.0, 100.0, None))


def test_a_cheap_candidate_of_luck_is_chosen_less_often_the_surer_the_gate():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 600)
    wrong = random.random(600) < 0.1
    teacher = np.where(wrong, 1 - truth, truth)
    cheap = np.where(random.random(600) < 0.13, 1 - truth, truth)  # keeps some 0.97 of it, and errs on other rows
    answers = {"teacher": teacher, "cheap": cheap, "same": teacher}
    candidates = [candidate("teacher", "teacher", 9_000_000), candidate("cheap", "student", 1_000)]
    candidates.append(candidate("same", "student", 1_000_000))
    found = study(candidates, answers, truth, 2, draws=40)
    assert found["able"] == 1 and found["held_out"] == 600
    few = found["rows"]["120"]
    reached = [few[confidence]["reached"] for confidence in ("point", "standard_error", "lower")]
    assert reached == sorted(reached) and reached[0] < 0.9 < reached[2]
    assert few["lower"]["times"] > few["point"]["times"]
    assert all(figures["passed"] == 1 for figures in few.values())  # "same" always does
    assert "500" not in found["rows"]  # no more than half may be drawn
