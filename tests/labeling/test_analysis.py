import numpy as np

from labeling.analysis import analyze


def test_a_small_matrix_and_its_answer():
    matrix = np.array([[0, 0, -1], [0, 1, -1], [-1, 1, -1], [-1, -1, -1]], dtype=np.int8)
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    gold_matrix = np.array([[0, 1, -1], [0, -1, -1]], dtype=np.int8)
    first, second, third = analyze(matrix, probabilities, gold_matrix, np.array([0, 1], dtype=np.int8))
    assert first == {
        "coverage": 0.5,
        "overlaps": 0.5,
        "conflicts": 0.25,
        "accuracy_gold": 0.5,
        "gold_votes": 2,
        "worth": 0.75,
    }
    assert (second["coverage"], second["overlaps"], second["conflicts"]) == (0.75, 0.5, 0.25)
    assert (second["accuracy_gold"], second["gold_votes"]) == (0.0, 1)
    assert (third["coverage"], third["accuracy_gold"], third["worth"]) == (0.0, None, None)


def test_agrees_with_snorkels_analysis():
    from snorkel.labeling import LFAnalysis

    matrix = np.random.default_rng(0).integers(-1, 3, (200, 6)).astype(np.int8)
    ours = analyze(matrix, np.full((200, 3), 1 / 3), matrix[:0], np.zeros(0, dtype=np.int8))
    theirs = LFAnalysis(matrix)
    for name, values in (
        ("coverage", theirs.lf_coverages()),
        ("overlaps", theirs.lf_overlaps()),
        ("conflicts", theirs.lf_conflicts()),
    ):
        assert np.allclose([function[name] for function in ours], values, atol=1e-4)
