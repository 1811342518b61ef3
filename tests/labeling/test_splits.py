from hypothesis import given
from hypothesis import strategies as st

from labeling.splits import GOLD, TEST, TRAIN, published_splits, shared_splits

IDS = st.lists(st.text(alphabet="abcdef0123456789", min_size=1, max_size=8), min_size=1, max_size=200, unique=True)


def test_a_text_published_in_two_splits_goes_to_each_as_often_the_test_first():
    published = {"train": ["a", "a", "b"], "test": ["a"]}
    assert published_splits(["a", "a", "a", "a", "b"], published) == [TEST, TRAIN, TRAIN, None, TRAIN]


@given(IDS, st.floats(0, 0.45), st.floats(0, 0.45))
def test_only_labeled_messages_are_gold_or_test(row_ids, gold, test):
    labeled = [i % 3 == 0 for i in range(len(row_ids))]
    splits = shared_splits(row_ids, labeled, gold, test, seed=1)
    assert all(split == TRAIN for split, known in zip(splits, labeled, strict=True) if not known)


@given(IDS)
def test_a_message_keeps_its_split_when_another_is_added(row_ids):
    all_labeled = [True] * len(row_ids)
    before = shared_splits(row_ids, all_labeled, 0.1, 0.2, seed=1)
    after = shared_splits([*row_ids, "new!"], [*all_labeled, True], 0.1, 0.2, seed=1)
    assert after[:-1] == before


def test_shares_are_near_what_was_asked():
    row_ids = [str(i) for i in range(5000)]
    splits = shared_splits(row_ids, [True] * 5000, 0.1, 0.2, seed=3)
    assert abs(splits.count(TEST) / 5000 - 0.2) < 0.02
    assert abs(splits.count(GOLD) / 5000 - 0.1) < 0.02


def test_few_labeled_messages_are_all_used_in_proportion():
    row_ids = [str(i) for i in range(5000)]
    splits = shared_splits(row_ids, [i < 300 for i in range(5000)], 0.1, 0.2, seed=3)
    assert splits.count(TRAIN) == 4700
    assert 170 < splits.count(TEST) < 230


@given(IDS, IDS)
def test_no_message_changes_between_gold_and_test_whatever_is_added(row_ids, others):
    labeled = [i % 3 == 0 for i in range(len(row_ids))]
    before = shared_splits(row_ids, labeled, 0.1, 0.2, seed=1)
    more = [f"new {other}" for other in others]
    after = shared_splits([*row_ids, *more], [*labeled, *[False] * len(more)], 0.1, 0.2, seed=1)
    assert all({a, b} != {GOLD, TEST} for a, b in zip(before, after[: len(row_ids)], strict=True))
