import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.intervals import wilson_interval


@pytest.mark.parametrize(
    ("right", "votes", "expected"),
    [
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (81, 263, (0.2553, 0.3662)),
    ],  # the last: Newcombe (1998), table I
)
def test_as_published(right, votes, expected):
    assert wilson_interval(right, votes) == pytest.approx(expected, abs=1e-4)


def test_no_votes_no_interval():
    assert wilson_interval(0, 0) is None


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_it_holds_the_share_and_narrows_with_more_votes(counts):
    right, votes = counts
    low, high = wilson_interval(right, votes)
    wider = wilson_interval(right, votes, z=2.5758)
    assert 0 <= wider[0] <= low <= round(right / votes, 4) <= high <= wider[1] <= 1
    low_4, high_4 = wilson_interval(4 * right, 4 * votes)
    assert high_4 - low_4 < high - low
