import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.batches import by_length, length_grouped


@given(st.lists(st.integers(2, 64), min_size=1, max_size=200), st.integers(1, 32), st.integers(0, 5))
def test_each_row_once(lengths: list[int], batch_size: int, seed: int):
    for batches in (
        length_grouped(np.asarray(lengths), batch_size, np.random.default_rng(seed)),
        list(by_length(np.asarray(lengths), batch_size)),
    ):
        assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
        assert all(len(batch) <= batch_size for batch in batches)


def test_grouping_saves_padding():
    lengths = np.random.default_rng(0).integers(2, 64, 640)

    def padded(batches: list[np.ndarray]) -> int:
        return sum(lengths[batch].max() * len(batch) for batch in batches)

    at_random = np.array_split(np.arange(640), 20)
    assert padded(length_grouped(lengths, 32, np.random.default_rng(0))) < 0.75 * padded(at_random)


def test_the_seed_decides_the_order():
    lengths = np.arange(2, 66)
    first, second = (length_grouped(lengths, 8, np.random.default_rng(3)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
