"""The convolutional substitute: what it computes, what it learns, and that it is served as it was trained."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.bag import extractor, rows_of
from training.bag_training import Lesson
from training.convolution import Convolution, answer, as_int8, convolution_bytes, read_convolution, words_of
from training.convolution_training import (
    ConvolutionParameters,
    first_weights,
    gradient,
    padded,
    see,
    to_rows,
    train_convolution,
)
from training.runtime import softmax

PARAMETERS = ConvolutionParameters(
    kind="convolution",
    width=6,
    window=3,
    filters=10,
    rows=50,
    min_count=1,
    epochs=60,
    batch_size=8,
    learning_rate=0.01,
    dropout=0.1,
)
WORDS = ("not", "good", "bad", "film", "very", "a", "it", "was")


def random_model(window: int = 3, seed: int = 0) -> Convolution:
    random = np.random.default_rng(seed)
    text = " ".join(WORDS)
    keys = np.unique(extractor(words_of(20))(text))
    lesson = Lesson([text], np.full((1, 3), 1 / 3, np.float32), np.ones(1, np.float32))
    table, head = first_weights(len(keys), lesson, PARAMETERS.model_copy(update={"window": window}), random)
    head["thresholds"] = random.normal(0, 0.1, 10).astype(np.float32)
    return Convolution(20, window, keys, table, head)


texts = st.lists(st.lists(st.sampled_from((*WORDS, "unseen")), max_size=12).map(" ".join), min_size=1, max_size=6)


@given(texts=texts, window=st.integers(1, 4))
def test_training_sees_what_serving_answers(texts: list[str], window: int):
    model = random_model(window)
    rows = [rows_of(model.keys, extractor(words_of(model.longest))(text)) for text in texts]
    used, numbers = padded(rows, window)
    vectors = np.concatenate([model.table[used], np.zeros((1, 6), np.float32)])[numbers]
    seen = see(vectors, np.array([len(one) for one in rows]), model.head, window)
    trained = seen.pooled @ model.head["linear"] + model.head["bias"]
    np.testing.assert_allclose(trained, answer(model)(texts, 1), atol=1e-5)
    for number, text in enumerate(texts):
        np.testing.assert_allclose(answer(model)([text], 1)[0], trained[number], atol=1e-5)


def test_gradients_are_those_of_the_loss():
    """Each weight is moved a little, in float64, and the loss with it."""
    model = random_model()
    table = model.table.astype(np.float64)
    head = {name: weight.astype(np.float64) for name, weight in model.head.items()}
    rows = [np.array([0, 1, 2, 1]), np.array([3]), np.array([], dtype=np.int64)]
    targets = softmax(np.random.default_rng(1).normal(size=(3, 3)))
    weights, mask = np.array([[0.5], [0.2], [0.3]]), np.ones((3, 10))
    used, numbers = padded(rows, 3)
    lengths = np.array([4, 1, 0])

    def loss() -> float:
        vectors = np.concatenate([table[used], np.zeros((1, 6))])[numbers]
        logits = see(vectors, lengths, head, 3).pooled @ head["linear"] + head["bias"]
        return float(-(weights * targets * np.log(softmax(logits))).sum())

    vectors = np.concatenate([table[used], np.zeros((1, 6))])[numbers]
    slopes = gradient(see(vectors, lengths, head, 3), mask, head, targets, weights)
    slopes[0] = to_rows(slopes[0], numbers, len(used), 3)
    assert list(head) == ["filters", "thresholds", "linear", "bias"]
    for weight, slope in zip((table, *head.values()), slopes, strict=True):
        for at in np.ndindex(*slope.shape):
            where = (used[at[0]], *at[1:]) if weight is table else at
            before = weight[where]
            weight[where] = before + 1e-5
            above = loss()
            weight[where] = before - 1e-5
            below = loss()
            weight[where] = before
            assert slope[at] == pytest.approx((above - below) / 2e-5, abs=1e-5)


def test_it_learns_the_order_of_words_which_a_bag_cannot():
    sentences = [
        f"{start} {one} {end}"
        for start in ("", "it was", "film")
        for one in ("not good", "good not")
        for end in ("", "very", "a")
    ]
    truth = np.array(["not good" in sentence for sentence in sentences], dtype=int)
    lesson = Lesson(sentences, np.eye(2, dtype=np.float32)[truth], np.ones(len(sentences), np.float32))
    model = train_convolution(lesson, len(sentences), 20, PARAMETERS, seed=1)
    assert (answer(model)(sentences, 1).argmax(axis=1) == truth).all()
    again = train_convolution(lesson, len(sentences), 20, PARAMETERS, seed=1)
    assert convolution_bytes(model, "float32") == convolution_bytes(again, "float32")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_it_is_read_as_it_was_written(tmp_path: Path, precision: str):
    model = random_model()
    path = tmp_path / "model.safetensors"
    path.write_bytes(convolution_bytes(model, precision))
    read, expected = read_convolution(path), as_int8(model) if precision == "int8" else model
    assert (read.longest, read.window) == (20, 3)
    asked = ["not good", "", "a film it was"]
    np.testing.assert_array_equal(answer(read)(asked, 1), answer(expected)(asked, 1))
