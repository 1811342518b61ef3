import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labeling.label_models.patterns import collapse, collapse_triples
from ledger.errors import DataError

MATRICES = st.tuples(st.integers(0, 30), st.integers(1, 20)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(-1, 2))
)


@given(MATRICES)
@settings(deadline=None)
def test_patterns_are_the_distinct_rows_and_give_the_rows_back(matrix):
    patterns = collapse(matrix, 3)
    assert np.array_equal(patterns.rows(patterns.matrix), matrix)
    assert patterns.height == len(np.unique(matrix, axis=0))
    assert patterns.counts.sum() == len(matrix)


@given(MATRICES)
@settings(deadline=None)
def test_triples_collapse_to_the_same_votes(matrix):
    row, function = np.nonzero(matrix >= 0)
    sparse = collapse_triples(row, function, matrix[row, function].astype(int), matrix.shape, 3)
    dense = collapse(matrix, 3)
    assert sparse.height == dense.height
    assert np.array_equal(sparse.rows(sparse.one_hot.toarray()), dense.rows(dense.one_hot.toarray()))


def test_votes_that_are_no_class_and_votes_that_stand_twice_are_refused():
    with pytest.raises(DataError, match="votes go from 0 to 3; expected -1"):
        collapse(np.array([[0, 3]], dtype=np.int8), 3)
    with pytest.raises(DataError, match="function 1 votes twice on row 0"):
        collapse_triples(np.array([0, 0]), np.array([1, 1]), np.array([0, 1]), (1, 2), 2)
