from pathlib import Path

import polars as pl

from labeling.check import examine_app, find_faults
from tests.labeling.conftest import FUNCTIONS, run_until, write_app

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


def test_failing_examples_are_faults_and_odd_functions_are_not(small_app):
    code = FUNCTIONS + (
        "FUNCTIONS += [\n    keyword('silent', 'bad', ['nowhere']),\n    keyword('again', 'good', ['love', 'fine', 'great']),\n"
        "    keyword('turned', 'good', ['awful', 'broken', 'late']),\n]\n"
    )
    path = small_app.app_folder / "functions.py"
    path.write_text(code, encoding="utf-8")
    found = examine_app(small_app, SOURCES)
    assert found.faults == ()
    assert [warning.split("; ")[-1] for warning in found.warnings] == [
        "mend it, or remove it",
        "label models take the two for two opinions: keep one",
        "one of them means something else",
    ]
    assert (
        "functions.py:10: function 'silent' votes on none of the 120 sample rows (the first of each"
        in found.warnings[0]
    )
    assert "functions.py:11: function 'again' votes as 'praise' does on 60 of the 60 rows" in found.warnings[1]
    assert "function 'turned' contradicts 'blame' on 60 of the 60 rows on which both vote" in found.warnings[2]
    run_until(small_app, "fuse")
    rows = pl.read_parquet(small_app.corpus).height
    assert f"'silent' votes on none of the {rows} rows of the corpus" in examine_app(small_app, SOURCES).warnings[0]

    path.write_text(code.replace("['nowhere'])", "['nowhere'], examples={'somewhere': 'bad'})"), encoding="utf-8")
    found = examine_app(small_app, SOURCES)
    assert found.warnings == () and len(found.faults) == 1
    assert "functions.py:10: function 'silent': on 'somewhere' expected 'bad', got abstain" in found.faults[0]


def test_a_corpus_of_other_labels_is_not_asked(small_app):
    run_until(small_app, "fuse")
    write_app(small_app, {"labels": ["bad", "good", "odd"]})
    code = FUNCTIONS + "FUNCTIONS += [keyword('strange', 'odd', ['nowhere'])]\n"
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    found = examine_app(small_app, SOURCES)
    assert found.faults == ()
    assert "'strange' votes on none of the 120 sample rows" in found.warnings[0]


def test_a_rule_is_tried_with_the_functions_it_reads(small_app):
    code = FUNCTIONS + (
        "from labeling.functions import implies\nFUNCTIONS += [implies('rule', {'praise': 'good', 'shouts': None}, 'bad')]\n"
    )
    (small_app.app_folder / "functions.py").write_text(code, encoding="utf-8")
    assert find_faults(small_app, SOURCES) == []
