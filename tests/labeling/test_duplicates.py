import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labeling.duplicates import near_duplicate_groups, normalize, shingles, similarity

TEXTS = st.lists(st.text(alphabet="abcd e!.", min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=25)


def test_case_punctuation_and_space_do_not_make_a_message_new():
    groups = near_duplicate_groups(["Check out my channel", "check out MY channel!!!", "I love this song"], 0.8)
    assert groups.tolist() == [0, 0, 1]


def test_a_small_edit_of_a_long_text_is_the_same_message():
    long = "my parcel with the number twelve has not arrived although the tracking page says so since last monday"
    assert near_duplicate_groups([long, "Fwd: " + long, long.replace("parcel", "invoice")], 0.8).tolist()[:2] == [0, 0]


def test_texts_without_letters_are_compared_as_they_are():
    assert normalize(" ?!? ") == "?!?"
    assert near_duplicate_groups([":-)", ":-(", ":-)"], 0.8).tolist() == [0, 1, 0]


def test_nothing_gives_nothing():
    assert near_duplicate_groups([], 0.8).shape == (0,)


@given(TEXTS)
def test_groups_are_all_that_exact_comparison_links(texts):
    groups = near_duplicate_groups(texts, 0.8)
    normalized = [shingles(normalize(text)) for text in texts]
    for i in range(len(texts)):
        for j in range(i):
            if similarity(normalized[i], normalized[j]) >= 0.8:
                assert groups[i] == groups[j]


@given(TEXTS)
def test_groups_are_numbered_by_first_appearance(texts):
    groups = near_duplicate_groups(texts, 0.8)
    firsts = [group for i, group in enumerate(groups.tolist()) if group not in groups[:i]]
    assert firsts == list(range(len(np.unique(groups))))
