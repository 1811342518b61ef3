import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import augment


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(5, 99), max_size=20), min_size=1, max_size=8), st.integers(0, 4), st.integers(0, 3)
)
def test_new_texts_are_made_of_old_tokens(bodies: list[list[int]], copies: int, seed: int):
    sequences = [np.array([2, *body, 3], dtype=np.int32) for body in bodies]
    made = augment(sequences, copies, 16, np.random.default_rng(seed))
    assert len(made) == copies * len(sequences)
    known = {token for body in bodies for token in body}
    for sequence in made:
        assert sequence[0] == 2 and sequence[-1] == 3 and sequence.dtype == np.int32
        assert set(sequence[1:-1].tolist()) <= known
    for sequence, number in zip(made, range(len(made)), strict=True):
        assert len(sequence) <= max(16, len(sequences[number % len(sequences)]))


def test_the_seed_decides():
    sequences = [np.arange(2, 20, dtype=np.int32), np.arange(30, 40, dtype=np.int32)]
    first, second = (augment(sequences, 3, 64, np.random.default_rng(4)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert any(len(a) != len(b) for a, b in zip(first, sequences * 3, strict=True))
