"""Whether a new model may replace the released one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.gate import Compared, difference_interval, judge

PASSED = {"passed": True, "misses": {}}
WORSE = Compared(0.80, 0.90, (-0.15, -0.05))
SOMEWHAT_WORSE = Compared(0.89, 0.90, (-0.03, 0.01))


@pytest.mark.parametrize(
    ("gates", "compared", "current", "passed", "told"),
    [
        (PASSED, None, None, True, "nothing was released before"),
        (PASSED, None, "v0.0.3", True, "answers other labels"),
        (PASSED, SOMEWHAT_WORSE, "v0.0.3", True, "not worse than v0.0.3: macro-F1 0.8900, released 0.9000"),
        (PASSED, WORSE, "v0.0.3", False, "worse than v0.0.3 beyond the interval: macro-F1 0.8000"),
        ({"passed": False, "misses": {"latency_ms": 3.5}}, SOMEWHAT_WORSE, "v0.0.3", False, "latency_ms by 3.5"),
        ({"passed": False, "misses": {"bytes": 9.0}}, None, None, False, "misses the gates of params.yaml: bytes by 9"),
    ],
)
def test_the_verdict(gates, compared, current, passed, told):
    verdict = judge(gates, compared, current)
    assert verdict.passed is passed and told in verdict.why


answers = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40)


@settings(max_examples=15, deadline=None)
@given(answers)
def test_the_interval_is_the_same_the_other_way_round(rows):
    truth, one, other = np.array(rows).T
    low, high = difference_interval(truth, one, other, 3, seed=1)
    back = difference_interval(truth, other, one, 3, seed=1)
    assert low <= high and back == pytest.approx((-high, -low), abs=1e-12)
    assert difference_interval(truth, one, one, 3, seed=1) == (0.0, 0.0)


def test_a_clear_loss_is_worse_and_two_rows_of_a_hundred_are_not():
    truth = np.arange(100) % 2
    for wrong, worse in ((2, False), (20, True)):
        new = np.where(np.arange(100) < wrong, 1 - truth, truth)
        assert Compared(0, 0, difference_interval(truth, new, truth, 2, seed=1)).worse is worse
