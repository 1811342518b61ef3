"""The ladder's rungs serve what they name, and its figures are what they are called."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from benchmarks import ladder
from benchmarks.ladder import Rung, climb, mean_ladder, opened, rungs, to_full_length
from tests.training.conftest import TINY_SHAPE, random_weights
from training.artifact import Card
from training.compress import write_candidate
from training.litert_format import litert_bytes
from training.model_files import Model
from training.quantization import uniform
from training.runtime import load

TEXTS = ["a", "b c", "c d e a b", "e e", "d c b a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights that knows five words."""
    path = tmp_path_factory.mktemp("ladder") / "tiny"
    tokenizer = Tokenizer(
        WordLevel({"[PAD]": 0, "[UNK]": 1} | {word: 2 + n for n, word in enumerate("abcde")}, "[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    weights = random_weights(TINY_SHAPE)
    card = Card(
        name="tiny",
        role="teacher",
        format="litert",
        precision="float32",
        labels=["x", "y", "z"],
        max_length=16,
        width=TINY_SHAPE.width,
        depth=TINY_SHAPE.depth,
        vocabulary=TINY_SHAPE.vocabulary,
        parameters=sum(weight.size for weight in weights.values()),
    )
    model = Model(("x", "y", "z"), 16, (TINY_SHAPE.size,), TINY_SHAPE, weights, tokenizer)
    write_candidate(card, litert_bytes(TINY_SHAPE, weights, uniform(TINY_SHAPE, "float32")), model, path)
    return path


def test_padding_changes_the_length_and_not_the_answers(folder: Path):
    lengths = []

    def engine(batch: np.ndarray) -> np.ndarray:
        lengths.append(batch.shape)
        return np.zeros((len(batch), 3), dtype=np.float32)

    to_full_length(engine, 16)(np.ones((2, 3), dtype=np.int32))
    assert lengths == [(2, 16)]
    padded, plain = opened(Rung("", folder, padded=True), 1), load(folder)
    np.testing.assert_allclose(padded.predict(TEXTS), plain.predict(TEXTS), atol=1e-5)


def test_figures_follow_from_the_rates(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ladder, "SECONDS", 0.05)
    monkeypatch.setattr(ladder, "ROUNDS", 1)
    truth = load(folder).predict(TEXTS).argmax(axis=1)
    steps = [Rung("padded", folder, padded=True), Rung("instances", folder, instances=True)]
    first, second = climb(steps, TEXTS, truth, 3, cpu_hour=0.5)
    assert (first["step"], first["model"], first["speed_up"]) == ("padded", "tiny", 1.0)
    assert first["accuracy"] == second["accuracy"] == 1.0
    assert second["speed_up"] == pytest.approx(second["queries_s"] / first["queries_s"])
    # twice the queries for the same hours: half the price
    assert second["price_100m"] * second["queries_s"] == pytest.approx(first["price_100m"] * first["queries_s"])


def test_a_network_that_is_chosen_is_no_rung_twice():
    folders = [Path(name) for name in ("teacher", "whole", "int8", "student")]
    assert len(rungs(*folders, chosen=Path("student"))) == 6
    assert [rung.step for rung in rungs(*folders, chosen=Path("bag"))][-1] == "+ another algorithm"


def test_a_set_without_the_last_rung_counts_its_own_last():
    def of(*speed_ups: float) -> list[dict]:
        return [
            {"step": str(n), "speed_up": it, "macro_f1": 0.9, "price_100m": 1 / it} for n, it in enumerate(speed_ups)
        ]

    assert [row["speed_up"] for row in mean_ladder([of(1, 4), of(1, 16, 36)])] == pytest.approx([1, 8, 12])
