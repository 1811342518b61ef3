import pytest
from snorkel.labeling import labeling_function

from labeling.functions import about, examples_of, keyword, labels_of, load_functions, owner_of
from ledger.errors import FunctionError

LABELS = ("HAM", "SPAM")


@labeling_function()
def coded(x):
    return -1


def test_a_row_function_states_labels_owner_and_examples():
    @about(labels=["SPAM"], owner="ana", examples={"buy now": "SPAM", "hello": None})
    @labeling_function()
    def stated(x):
        return -1

    assert labels_of(stated, LABELS) == ("SPAM",)
    assert owner_of(stated, "team") == "ana"
    assert examples_of(stated) == (({"text": "buy now"}, "SPAM"), ({"text": "hello"}, None))


def test_what_is_not_stated_has_a_default():
    assert labels_of(coded, LABELS) == LABELS
    assert owner_of(coded, "team") == "team"
    assert owner_of(coded) is None
    assert examples_of(coded) == ()


def test_examples_of_a_declared_function_stand_in_its_field():
    function = keyword("check", "SPAM", ["check out"], field="title", owner="bo", examples={"check out": "SPAM"})
    assert examples_of(function) == (({"title": "check out"}, "SPAM"),)
    assert owner_of(function) == "bo"


@pytest.mark.parametrize("labels", ["SPAM", []])
def test_labels_that_are_no_list_are_refused(labels):
    with pytest.raises(FunctionError):
        about(labels=labels)(coded)


def test_the_files_owner_goes_to_functions_that_state_none(tmp_path):
    (tmp_path / "functions.py").write_text(
        "from labeling.functions import keyword\n"
        'OWNER = "team"\n'
        'FUNCTIONS = [keyword("a", "HAM", ["x"]), keyword("b", "SPAM", ["y"], owner="ana")]\n',
        encoding="utf-8",
    )
    assert [owner_of(function) for function in load_functions(tmp_path, LABELS)] == ["team", "ana"]


def test_a_stated_label_that_the_app_lacks_is_refused_with_its_line(tmp_path):
    (tmp_path / "functions.py").write_text(
        "from snorkel.labeling import labeling_function\n"
        "from labeling.functions import about\n"
        '@about(labels=["EGGS"])\n'
        "@labeling_function()\n"
        "def coded(x):\n"
        "    return -1\n"
        "FUNCTIONS = [coded]\n",
        encoding="utf-8",
    )
    with pytest.raises(FunctionError, match=r"functions\.py:5: .*EGGS"):
        load_functions(tmp_path, LABELS)
