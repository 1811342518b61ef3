import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.confidence import at_threshold, find_threshold, fit_temperature, tempered
from training.energy import joules_since, read_joules
from training.quality import retained_interval
from training.slices import slices, worst


def sample(rows: int = 400, right: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Answers that are right as often as ``right``, the surer the righter, all told at 0.9 or more."""
    random = np.random.default_rng(0)
    sure = random.uniform(0.9, 1.0, rows)
    truth = np.where(random.random(rows) < right - 0.1 + 2 * (sure - 0.9), 0, 1)
    return truth, np.stack([sure, 1 - sure], axis=1)


def test_the_temperature_of_an_overconfident_model_is_above_one():
    truth, probabilities = sample(right=0.7)
    temperature = fit_temperature(truth, probabilities)
    assert temperature > 1.5
    assert tempered(probabilities, temperature).max(axis=1).mean() == pytest.approx((truth == 0).mean(), abs=0.08)


def test_a_model_that_is_always_right_is_not_made_certain():
    probabilities = np.tile([0.8, 0.2], (30, 1))
    served = tempered(probabilities, fit_temperature(np.zeros(30, dtype=int), probabilities))
    assert served[0, 0] == pytest.approx(1 - 1 / 32, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 5), st.integers(0, 50))
def test_tempering_keeps_the_likeliest(temperature: float, seed: int):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), 20)
    served = tempered(probabilities, temperature)
    np.testing.assert_allclose(served.sum(axis=1), 1)
    np.testing.assert_array_equal(served.argmax(axis=1), probabilities.argmax(axis=1))


def test_the_threshold_reaches_what_is_asked_and_covers_most():
    truth, probabilities = sample()
    found = find_threshold(truth, probabilities, 0.85)
    assert found.accuracy >= 0.85 and 0 < found.coverage < 1
    again = at_threshold(truth, probabilities, found.unsure_below)
    assert again == found
    assert find_threshold(truth, probabilities, 0.5).coverage == 1
    assert find_threshold(truth, probabilities, None).unsure_below == 0
    assert find_threshold(1 - truth * 0, probabilities, 0.9).coverage == 0  # nothing is right: nothing is answered


def test_slices_by_hand():
    texts = ["one two", "a b c d e f", "a b c d e f g"]
    found = slices(texts, np.array([0, 1, 1]), np.array([0, 1, 0]), ["ham", "spam"], [["web"], ["web", "app"], ["app"]])
    scores = {(s.by, s.name): (s.rows, s.accuracy) for s in found}
    assert scores == {
        ("label", "ham"): (1, 1.0),
        ("label", "spam"): (2, 0.5),
        ("length", "1-5 words"): (1, 1.0),
        ("length", "6-15 words"): (2, 0.5),
        ("source", "app"): (2, 0.5),
        ("source", "web"): (2, 1.0),
    }
    assert worst(found) is None  # none has ten rows


def test_a_paired_interval_of_equals_is_one():
    truth = np.array([0, 1] * 50)
    half = np.where(np.arange(100) % 4 == 0, 1 - truth, truth)
    assert retained_interval(truth, half, half, 2, seed=1) == [1.0, 1.0]
    low, high = retained_interval(truth, half, truth, 2, seed=1)
    assert low < 0.75 < high


def test_energy_is_read_from_packages_or_not_told(tmp_path):
    assert read_joules(tmp_path) is None and joules_since(None) is None
    for name, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:0:0", 1), ("intel-rapl:1", 7_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(str(value))
    before = read_joules(tmp_path)
    assert sorted((before or {}).values()) == [5.0, 7.0]
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("6000000")
    assert joules_since(before) == pytest.approx(1.0)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("0")  # the counter has started over
    assert joules_since(before) is None
