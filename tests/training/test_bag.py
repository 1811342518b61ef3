from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.bag import Bag, Features, answer, as_int8, bag_bytes, chain, extractor, read_bag, rows_of
from training.bag_training import BagParameters, Lesson, frequent_keys, gradient, mix, train_bag
from training.runtime import softmax
from training.table_file import quantize

FEATURES = Features(words=2, characters=(3, 4), longest=20)
SETTINGS = {"words": 1, "characters": (3, 3), "rows": 1000, "min_count": 1, "epochs": 30, "batch_size": 8}


def random_bag(width: int | None = None, rows: int = 200, classes: int = 3) -> Bag:
    random = np.random.default_rng(1)
    keys = frequent_keys([extractor(FEATURES)(text) for text in ("win free money", "i love this song")], rows, 1)
    head = {"bias": random.normal(size=classes).astype(np.float32)}
    if width:
        head |= {name: random.normal(size=(width, classes)).astype(np.float32) for name in ("linear", "hidden")}
    return Bag(FEATURES, keys, random.normal(size=(len(keys), width or classes)).astype(np.float32), head)


def test_a_text_is_taken_apart_into_its_n_grams():
    found = extractor(Features(words=2, characters=(3, 3), longest=20))("Go, GO home")
    words, characters = ["go", ",", "go", "home"], " go , go home "
    assert len(found) == len(words) + len(words) - 1 + len(characters) - 2
    assert len(np.unique(found[:4])) == 3 and found[0] == found[2]  # "go" twice, whatever its case
    assert len(np.unique(found[7:])) == len({characters[start : start + 3] for start in range(len(characters) - 2)})


def test_equal_n_grams_hash_alike_wherever_they_stand():
    parts: list[np.ndarray] = []
    chain(np.array([5, 7, 9, 5, 7, 9], dtype=np.uint32), 2, 3, parts)
    pairs, triples = parts
    assert pairs[0] == pairs[3] and triples[0] == triples[3] and len(np.unique(pairs)) == 3


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_an_answer(text: str):
    for width in (None, 4):
        logits = answer(random_bag(width))([text], 1)
        assert logits.shape == (1, 3) and np.isfinite(logits).all()


def test_a_text_without_features_gets_the_bias():
    bag = random_bag()
    np.testing.assert_array_equal(answer(bag)(["", "日本"], 1), [bag.head["bias"], bag.head["bias"]])


def test_the_answer_is_the_mean_of_rows_over_the_root_of_their_number_and_the_head():
    bag, text = random_bag(4), "win the song"
    rows = rows_of(bag.keys, extractor(FEATURES)(text))
    assert 0 < len(rows) < len(extractor(FEATURES)(text))  # "the" was never seen
    vector = bag.table[rows].sum(axis=0) / np.sqrt(len(rows))
    expected = vector @ bag.head["linear"] + np.maximum(vector, 0) @ bag.head["hidden"] + bag.head["bias"]
    np.testing.assert_allclose(answer(bag)([text, "win"], 1)[0], expected, rtol=1e-5, atol=1e-5)


def test_words_beyond_the_longest_are_not_read():
    extract = extractor(FEATURES)
    np.testing.assert_array_equal(extract("a b " * 10), extract("a b " * 1000))


def test_an_unseen_word_still_counts_by_its_characters():
    bag = random_bag()
    assert not np.array_equal(answer(bag)(["moneys"], 1)[0], bag.head["bias"])


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_what_is_written_is_what_is_read(tmp_path: Path, precision: str):
    bag = random_bag(4)
    path = tmp_path / "model.safetensors"
    path.write_bytes(bag_bytes(bag, precision))
    expected = as_int8(bag) if precision == "int8" else bag
    found = read_bag(path)
    assert found.features == bag.features and found.table.dtype == np.float32
    np.testing.assert_array_equal(found.table, expected.table)
    np.testing.assert_array_equal(answer(found)(["free song"], 1), answer(expected)(["free song"], 1))
    assert bag_bytes(bag, precision) == path.read_bytes()


def test_int8_is_within_half_a_step():
    bag = random_bag()
    bag.table[0] = 0
    bag.table[1] *= 1e-9
    table, scale = quantize(bag.table)
    assert table.dtype == np.int8 and (np.abs(table * scale - bag.table) <= 0.51 * scale).all()


@pytest.mark.parametrize("width", [0, 5])
def test_the_gradient_is_the_losss_slope(width: int):
    random = np.random.default_rng(2)
    head = {"bias": random.normal(size=3)}
    if width:
        head |= {name: random.normal(size=(width, 3)) for name in ("linear", "hidden")}
    table = random.normal(size=(6, width or 3))
    used, mixing = mix([np.array([0, 1, 1, 4]), np.array([5, 2]), np.array([], dtype=np.int64)], 0.0, random)
    mixing = mixing.astype(np.float64)
    targets, weights = random.dirichlet(np.ones(3), 3), random.uniform(size=(3, 1))

    def loss() -> float:
        vectors = mixing @ table[used]
        summed = vectors @ head["linear"] + np.maximum(vectors, 0) @ head["hidden"] if width else vectors
        logits = summed + head["bias"]
        return float(-(weights * targets * np.log(softmax(logits))).sum())

    of_table, *of_head = gradient(mixing, table[used], head, targets, weights)
    for weight, slopes, at in [
        (table, of_table, used),
        *((head[name], slope, None) for name, slope in zip(head, of_head, strict=True)),
    ]:
        whole = np.zeros_like(weight)
        whole[slice(None) if at is None else at] = slopes
        for position in np.ndindex(weight.shape):
            before = weight[position]
            weight[position] = before + 1e-5
            above = loss()
            weight[position] = before - 1e-5
            assert whole[position] == pytest.approx((above - loss()) / 2e-5, abs=1e-6)
            weight[position] = before


@pytest.mark.parametrize(("width", "rate"), [(0, 0.1), (8, 0.03)])
def test_training_follows_the_targets_as_much_as_their_weights_say(width: int, rate: float):
    texts = ["win free money", "free gifts now", "lovely song", "great music"] * 4
    targets = np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]] * 4, dtype=np.float32)
    wrong = Lesson(
        texts + texts, np.concatenate([targets, targets[:, ::-1]]), np.repeat([1.0, 0.0], 16).astype(np.float32)
    )
    parameters = BagParameters(**SETTINGS, width=width, learning_rate=rate, dropout=0.1)
    bag = train_bag(wrong, 16, 20, parameters, seed=1)
    np.testing.assert_allclose(softmax(answer(bag)(texts, 1)), targets, atol=0.1)
    again = train_bag(wrong, 16, 20, parameters, seed=1)
    assert bag_bytes(bag, "int8") == bag_bytes(again, "int8")


def test_rows_are_for_what_enough_texts_have():
    hashes = [np.array(row, dtype=np.uint32) for row in ([7, 7, 7, 3], [3, 9], [3, 9])]
    np.testing.assert_array_equal(frequent_keys(hashes, 10, 2), [3, 9])
    np.testing.assert_array_equal(frequent_keys(hashes, 1, 1), [3])
    assert len(frequent_keys(hashes, 10, 100)) == 3  # none is frequent enough: all, rather than nothing
