import numpy as np

from labeling.label_models import collapse, fit_hierarchical
from labeling.source_quality import annotator_quality
from tests.labeling.test_label_models import votes_of


def test_good_functions_are_rated_above_poor_ones_and_one_that_hardly_votes_is_not_rated():
    matrix, _ = votes_of([0.95, 0.9, 0.6, 0.5], rows=3000)
    seldom = np.full((3000, 1), -1, dtype=np.int8)
    seldom[:2] = 0
    matrix = np.hstack([matrix, seldom])
    probabilities = fit_hierarchical(collapse(matrix, 3), None).predict(matrix)
    *rated, last = annotator_quality(matrix, probabilities, seed=1)
    assert rated[0] > rated[2] + 0.1
    assert rated[1] > rated[3] + 0.1
    assert last is None


def test_nothing_is_rated_where_nothing_votes():
    assert annotator_quality(np.full((5, 2), -1, dtype=np.int8), np.full((5, 2), 0.5), seed=1) == [None, None]
