import numpy as np

from training.schedule import WarmupLinearDecay
from training.student import inherit_embeddings, principal_axes


def test_axes_are_ordered_by_variance():
    vectors = np.random.default_rng(0).normal(size=(500, 4)) * np.array([1.0, 5.0, 0.1, 2.0])
    mean, axes = principal_axes(vectors, np.ones(500), 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    spread = ((vectors - mean) @ axes).std(0)
    assert spread[0] > spread[1] > spread[2]
    assert np.abs(axes).argmax(0).tolist() == [1, 3, 0]


def test_similar_words_stay_similar_in_the_student():
    vectors = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)
    vectors[1] = vectors[0] + 0.01
    student = inherit_embeddings({"embedding/tokens": np.zeros((40, 8), np.float32)}, vectors, np.ones(40))
    tokens = student["embedding/tokens"]
    assert tokens.dtype == np.float32 and tokens.shape == (40, 8)
    distances = np.linalg.norm(tokens - tokens[0], axis=1)
    assert distances[1] < 0.1 * np.median(distances)


def test_the_rate_rises_then_falls():
    rate = WarmupLinearDecay(peak=1.0, steps=100, warmup=0.1)
    values = [float(rate(step)) for step in range(100)]
    assert max(values) <= 1.0 and np.argmax(values) in (9, 10)
    assert values[0] < values[5] < values[9] and values[20] > values[60] > values[99] > 0
    assert WarmupLinearDecay.from_config(rate.get_config()).get_config() == rate.get_config()
