import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labeling.relations import contradictory_functions, count_pairs, dead_functions, duplicate_functions

matrices = st.tuples(st.integers(0, 40), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(-1, 2))
)


def pairs(found):
    return [(pair.first, pair.second) for pair in found]


def test_dead_is_who_never_votes():
    assert dead_functions(np.array([[0, -1, -1], [-1, -1, 1]], dtype=np.int8)) == [1]


@given(matrices)
@settings(max_examples=50)
def test_pairs_are_counted_as_by_hand(matrix):
    by_class, both, same = count_pairs(matrix, 3)
    for i in range(matrix.shape[1]):
        assert by_class[:, i].sum() == (matrix[:, i] >= 0).sum()
        for j in range(matrix.shape[1]):
            voted = (matrix[:, i] >= 0) & (matrix[:, j] >= 0)
            assert both[i, j] == voted.sum()
            assert same[i, j] == (voted & (matrix[:, i] == matrix[:, j])).sum()


def test_duplicates_are_counted_on_the_union():
    a = np.where(np.arange(100) < 40, 0, -1).astype(np.int8)
    nearly, part = a.copy(), a.copy()
    nearly[0] = -1
    part[:20] = -1
    (pair,) = duplicate_functions(np.column_stack([a, nearly, part]), 2)
    assert (pair.first, pair.second, pair.both, pair.either, pair.same) == (0, 1, 39, 40, 39)


def test_dead_functions_are_no_duplicates_of_each_other():
    assert duplicate_functions(np.full((9, 2), -1, dtype=np.int8), 2) == []


def test_contradictory_is_who_meets_beyond_chance_and_differs():
    draw = np.random.default_rng(1)
    rows = 1000
    one = np.where(np.arange(rows) < 100, 0, -1)
    swapped = np.where(one == 0, 1, -1)  # the same rows, the other label
    by_chance = np.where(draw.random(rows) < 0.2, 1, -1)  # meets `one` as chance has it
    agreeing = np.where(np.arange(rows) < 90, 0, -1)
    matrix = np.column_stack([one, swapped, by_chance, agreeing]).astype(np.int8)
    assert pairs(contradictory_functions(matrix, 2)) == [(0, 1), (1, 3)]


def test_two_functions_for_different_labels_that_meet_now_and_then_are_no_contradiction():
    one = np.where(np.arange(1000) < 200, 0, -1)
    other = np.where((np.arange(1000) >= 170) & (np.arange(1000) < 370), 1, -1)
    assert contradictory_functions(np.column_stack([one, other]).astype(np.int8), 2) == []


def test_no_rows():
    empty = np.zeros((0, 2), dtype=np.int8)
    assert duplicate_functions(empty, 2) == contradictory_functions(empty, 2) == []
