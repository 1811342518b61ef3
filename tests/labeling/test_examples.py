from labeling.examples import failing_examples
from labeling.functions import load_functions
from tests.labeling.conftest import FUNCTIONS

LABELS = ("bad", "good")


def failing(small_app, code, fields=("place",)):
    path = small_app.app_folder / "functions.py"
    path.write_text(FUNCTIONS + code, encoding="utf-8")
    return failing_examples(load_functions(small_app.app_folder, LABELS), LABELS, fields, path)


def test_examples_that_hold_say_nothing(small_app):
    code = """
FUNCTIONS += [keyword("k", "bad", ["größer"], examples={"ist Größer!": "bad", "groß": None})]
"""
    assert failing(small_app, code) == []


def test_a_failing_example_is_told_with_function_text_expected_got_and_line(small_app):
    code = """
FUNCTIONS += [
    keyword(
        "k", "bad", ["late"],
        examples={
            "it is late": "bad",
            "it came later": "bad",
            "too late": None,
        },
    ),
]
"""
    found = failing(small_app, code)
    assert len(found) == 2
    assert (
        "functions.py:15: function 'k': on 'it came later' expected 'bad', got abstain; mend the function" in found[0]
    )
    assert "functions.py:16: function 'k': on 'too late' expected abstain, got 'bad'" in found[1]


def test_row_functions_rules_and_rows_with_fields(small_app):
    code = """
from snorkel.labeling import labeling_function
from labeling.functions import about, column, implies

@about(examples=[({"text": "x", "place": "web"}, "good"), ({"text": "y"}, None)])
@labeling_function()
def web(x):
    return "good" if x.place == "web" else None

FUNCTIONS += [
    web,
    column("where", "place", {"web": "bad"}, examples={"web": "bad", "shop": None}),
    implies("rule", {"praise": "good", "shouts": None}, "bad", examples={"great!!": "bad", "great": None}),
    implies("second", {"rule": "bad"}, "bad", examples={"great!!": "good"}),
]
"""
    (found,) = failing(small_app, code)
    assert "function 'second': on 'great!!' expected 'good', got 'bad'" in found


def test_an_example_that_cannot_be_run_or_expects_no_label(small_app):
    code = """
from snorkel.labeling import labeling_function
from labeling.functions import about

@about(examples={"x": None})
@labeling_function()
def fails(x):
    return 1 / 0

@about(examples={"x": None})
@labeling_function()
def wrong(x):
    return 7

FUNCTIONS += [fails, wrong, keyword("k", "bad", ["x"], examples={"x": "awful"})]
"""
    found = failing(small_app, code)
    assert "function 'fails': raises on 1 of its examples; first: row 'example 1': ZeroDivisionError" in found[0]
    assert "function 'wrong': its examples cannot be run: function 'wrong' returned 7" in found[1]
    assert "function 'k': an example expects 'awful'; expected one of bad, good, or None" in found[2]
