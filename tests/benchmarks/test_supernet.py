"""A size alone is that size and no other, and points are those between the two scores."""

import numpy as np
import pytest

from benchmarks.supernet import alone, compare
from tests.training.conftest import PARAMETERS
from training.distill import DistillParameters


def test_every_size_can_be_asked_for_alone():
    together = DistillParameters.model_validate(PARAMETERS["distill"])
    for size in together.sizes():
        asked = DistillParameters.model_validate(PARAMETERS["distill"] | alone(size))
        assert asked.sizes() == [size] and asked.size == size


def test_points_are_the_slice_less_the_one_alone():
    truth = np.array([0, 1] * 50)
    one_wrong = np.where(np.arange(100) == 3, 0, truth)
    found = compare(truth, one_wrong, truth, classes=2)
    assert found["alone"] == 1.0 and found["points"] == pytest.approx(-1.0, abs=0.01)
    low, high = found["points_95"]
    assert low <= found["points"] <= high <= 0 and found["accuracy_points"] == -1.0
    assert compare(truth, truth, truth, classes=2)["points"] == 0
