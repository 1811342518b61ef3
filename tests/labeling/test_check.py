from pathlib import Path

from labeling.check import find_faults
from tests.labeling.conftest import FUNCTIONS, write_app

SOURCES = Path("sources")


def test_nothing_wrong(small_app):
    assert find_faults(small_app, SOURCES) == []


def test_every_fault_is_found_at_once_with_file_and_line(small_app):
    columns = {"id": "no", "text": "said", "label": "truth", "place": "town"}
    write_app(
        small_app,
        {
            "sources": {
                "shop": {"file": "shop.csv", "columns": columns},
                "web": {"file": "none.csv", "columns": {"text": "said"}, "label_names": {"1": "splendid"}},
            }
        },
    )
    (small_app.app_folder / "functions.py").write_text("FUNCTIONS = [", encoding="utf-8")
    faults = find_faults(small_app, SOURCES)
    assert len(faults) == 4
    assert "label_names" not in faults[0] and "app.yaml:18: source 'web' writes '1' for 'splendid'" in faults[0]
    assert "app.yaml:6: sources/shop.csv: no column 'town'" in faults[1]
    assert "app.yaml:13: sources/none.csv: source 'web' not found" in faults[2]
    assert "functions.py:1: does not run: SyntaxError" in faults[3]


def test_functions_are_tried_on_a_sample(small_app):
    code = FUNCTIONS + (
        "from snorkel.labeling import labeling_function\n\n@labeling_function()\ndef wrong(x):\n    return 7\n\n"
        "@labeling_function()\ndef fails(x):\n    return x.subject\n\nFUNCTIONS += [wrong, fails, keyword('k', 'bad', ['x'], 'subject')]\n"
    )
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    faults = find_faults(small_app, SOURCES)
    assert len(faults) == 3
    assert "functions.py:12: function 'wrong' returned 7 on row 'shop/0'" in faults[0]
    assert "functions.py:16: function 'fails' raised on 120 of 120 sample rows, more than vote.error_share" in faults[1]
    assert "functions.py:19: function 'k': reads the column 'subject'" in faults[2]


def test_a_source_of_which_nothing_can_be_used(small_app):
    Path("sources/shop.csv").write_text("no,said,truth,place\n1,,good,x\n", encoding="utf-8")
    assert "none of the first 1 rows can be used: no text" in find_faults(small_app, SOURCES)[0]


def test_a_check_asks_no_language_model(small_app):
    (small_app.app_folder / "functions.py").write_text(
        "from labeling.functions import llm\n"
        "FUNCTIONS = [llm('asked', ['bad', 'good'], endpoint='http://127.0.0.1:9/v1', model='m', retries=0)]\n"
    )
    assert find_faults(small_app, SOURCES) == []  # nothing listens there: asking would be a fault
