from tests.training.conftest import tiny_training_set
from training.sample import sample


def test_gold_is_for_the_choice_only():
    by = sample(tiny_training_set())
    assert set(by.choice["split"]) == {"gold"} and set(by.learning["split"]) == {"train", "unlabeled"}
    assert "by hand" in by.origin


def test_without_gold_a_share_of_train_is_held_back():
    training_set = tiny_training_set(gold=False)
    by = sample(training_set)
    assert set(by.choice["split"]) == {"train"}
    assert 8 <= by.choice.height <= 30
    assert not set(by.choice["row_id"]) & set(by.learning["row_id"])
    assert by.choice.height + by.learning.height == training_set.rows.height
    assert "no gold sample" in by.origin
