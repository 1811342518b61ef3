import pytest

from labeling.accept import judge
from labeling.gold import Answer, hash_of
from labeling.review_table import Given

LABELS = ("bad", "good")
TEXTS = {"r": "late  again", "s": "fine", "größe": "groß"}
NOW = "2026-11-25T09:30:00+00:00"


def given(row="r", label="bad", text=None, who=None, when=None, place="f.csv:2"):
    return Given(place, row, label, text, who, when)


def judged(*answers, standing=(), newer_wins=False):
    return judge(answers, TEXTS, LABELS, standing, "ann", NOW, newer_wins)


def test_what_is_in_order_gets_who_when_and_the_texts_hash():
    verdict = judged(given(text="late again\n"), given("größe", "good", when="2026-11-25T12:00:00+02:00"))
    assert verdict.faults == ()
    assert verdict.answers == (
        Answer("r", "bad", "ann", "2026-11-25T09:30:00Z", hash_of("late  again")),
        Answer("größe", "good", "ann", "2026-11-25T10:00:00Z", hash_of("groß")),
    )


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (given("nobody"), "f.csv:2: no row 'nobody' in the corpus"),
        (
            given(label="Good"),
            "f.csv:2: 'Good' is no label of the app (did you mean 'good'?); expected one of bad, good",
        ),
        (given(label="fine"), "f.csv:2: 'fine' is no label of the app; expected one of bad, good"),
        (given(text="another"), "f.csv:2: the text of row 'r' is not the corpus's"),
        (given(when="monday"), "f.csv:2: expected a time such as"),
    ],
)
def test_each_fault_is_one_sentence_and_leaves_the_others(one, told):
    verdict = judged(one, given("s", "good"))
    assert len(verdict.faults) == 1 and verdict.faults[0].startswith(told)
    assert [answer.row_id for answer in verdict.answers] == ["s"]


def test_a_double_answer_is_refused_unless_the_newer_wins():
    twice = (given(), given(label="good", place="f.csv:9"))
    (fault,) = judged(*twice).faults
    assert fault.startswith("f.csv:9: row 'r' is 'good' here and 'bad' at f.csv:2; settle it, or")
    verdict = judged(*twice, newer_wins=True)
    assert verdict.faults == () and [answer.label for answer in verdict.answers] == ["bad", "good"]


def test_an_answer_against_the_standing_one_is_refused_unless_the_newer_wins():
    standing = [Answer("r", "good", "bob", "2026-11-24T09:30:00Z", hash_of(TEXTS["r"]))]
    (fault,) = judged(given(), standing=standing).faults
    assert "row 'r' is 'bad' here, and 'good' to bob on 2026-11-24T09:30:00Z" in fault
    assert judged(given(), standing=standing, newer_wins=True).faults == ()
    assert judged(given(label="good"), standing=standing).faults == ()


def test_an_answer_about_an_earlier_text_stands_in_nobodys_way():
    standing = [Answer("r", "good", "bob", "2026-11-24T09:30:00Z", hash_of("what it was"))]
    assert judged(given(), standing=standing).faults == ()


def test_several_numbered_people_stay_apart_and_an_address_is_kept():
    one = judged(given(who="7"))
    assert [answer.who for answer in one.answers] == ["ann"]
    several = judged(given(who="7"), given("s", "good", who="8"), given("größe", "good", who="eve@example.org"))
    assert [answer.who for answer in several.answers] == ["ann/7", "ann/8", "eve@example.org"]
