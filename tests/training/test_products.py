"""A product taken in parts is the product."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.products import product


@given(rows=st.integers(1, 40), inner=st.integers(1, 6), columns=st.integers(1, 6), most=st.integers(1, 200))
def test_the_size_of_the_parts_changes_nothing(rows: int, inner: int, columns: int, most: int):
    random = np.random.default_rng(rows)
    left, right = (random.normal(size=size).astype(np.float32) for size in ((rows, inner), (inner, columns)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("training.products.ONE_THREAD", most)
        found = product(left, right)
    np.testing.assert_allclose(found, left @ right, atol=1e-5)
    assert found.shape == (rows, columns) and found.dtype == np.float32
