import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.embeddings import KnownTexts
from labeling.encoder import encode
from labeling.functions import implies, keyword, knowledge, lend, load_functions, nearest
from labeling.vote import label_matrix
from ledger.errors import FunctionError

LABELS = ("billing", "delivery")


def votes(function, *texts):
    return function.bind(LABELS) and pl.DataFrame({"text": list(texts)}).select(function.expression)["text"].to_list()


@given(
    st.lists(st.sampled_from(["Refund", "money  back", "C#", "#1", "größe", "a", ",", "refunded"]), max_size=6),
    st.sampled_from([" ", "", "-", "\n"]),
)
def test_a_term_matches_as_keyword_does(parts, gap):
    rows = pl.DataFrame({"text": [gap.join(parts)]})
    for term in ("refund", "Money back", "c#", "#1", "größe"):
        one = rows.select(keyword("k", "billing", [term]).expression.alias("v"))["v"][0]
        other = rows.select(knowledge("k", {term: "billing"}).expression.alias("v"))["v"][0]
        assert one == other


def test_which_label_wins():
    terms = {"refund": "billing", "credit note": "billing", "courier": "delivery", "no refund": "delivery"}
    text = "refund, credit note; courier courier"
    assert votes(knowledge("k", terms), text, "refund courier", "no refund", None, "") == [
        "billing",
        None,
        "delivery",
        None,
        None,
    ]
    assert votes(knowledge("k", terms, win="longest"), "refund courier") == ["delivery"]


def test_weights(tmp_path):
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge/t.jsonl").write_text(
        '{"term": "refund", "label": "billing"}\n{"term": "courier", "label": "delivery", "weight": 3}\n{"term": "fee", "label": "billing"}\n'
    )
    text = "from labeling.functions import knowledge\nFUNCTIONS = [knowledge('k', 't.jsonl', win='heaviest')]"
    (tmp_path / "functions.py").write_text(text)
    assert votes(load_functions(tmp_path, LABELS)[0], "refund fee courier", "refund") == ["delivery", "billing"]


def test_a_graph_inherits(tmp_path):
    write(tmp_path, "term,is_a,label\ninvoice,document,\ndocument,paper,\npaper,,billing\nvan,,delivery\n")
    (function,) = load_functions(tmp_path, LABELS)
    assert votes(function, "an INVOICE", "the van", "van and invoice") == ["billing", "delivery", None]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("term,is_a\na,b\nb,c\nc,a\n", r"functions\.py:2: .*t\.csv:\d: .*in a circle: a -> b -> c -> a"),
        ("term,label\na,billing\nb,nonsense\n", r"functions\.py:2: .*t\.csv:3: 'nonsense' is neither a term"),
        ("term,label\na,billing\na,delivery\n", r"t\.csv:3: the term 'a' stands already \(.*t\.csv:2\)"),
        ("term,label\na,billing\nA,delivery\n", r"t\.csv:3: the term 'A' stands already"),
        ("term,label,weight\na,billing,heavy\n", r"t\.csv:2: expected a weight above 0, got 'heavy'"),
        ("term,label\na,\n", r"t\.csv:2: expected a term and either"),
        ("term,label,colour\na,billing,red\n", r"t\.csv:2: expected term, label, is_a and weight only, got 'colour'"),
        ("term,label\n", r"expected at least one term"),
    ],
)
def test_faults_name_the_table_and_the_line(tmp_path, table, message):
    write(tmp_path, table)
    with pytest.raises(FunctionError, match=message):
        load_functions(tmp_path, LABELS)


def write(folder, table, call="knowledge('k', 't.csv')"):
    (folder / "knowledge").mkdir()
    (folder / "knowledge/t.csv").write_text(table)
    (folder / "functions.py").write_text(f"from labeling.functions import knowledge\nFUNCTIONS = [{call}]\n")


def test_a_table_stands_in_the_folder_that_is_watched(tmp_path):
    write(tmp_path, "term,label\na,billing\n", "knowledge('k', '../t.csv')")
    with pytest.raises(FunctionError, match="move it there"):
        load_functions(tmp_path, LABELS)


def test_the_table_is_part_of_the_source(tmp_path):
    write(tmp_path, "term,label\na,billing\n")
    before = load_functions(tmp_path, LABELS)[0].source
    (tmp_path / "knowledge/t.csv").write_text("term,label\na,delivery\n")
    assert load_functions(tmp_path, LABELS)[0].source != before


def test_rules_read_votes():
    functions = [
        keyword("refund", "billing", ["refund"]),
        keyword("parcel", "delivery", ["parcel"]),
        implies("rule", {"refund": None}, "billing", unless={"parcel": "delivery"}),
        implies("both", {"refund": "billing", "parcel": None}, "delivery"),
    ]
    rows = pl.DataFrame({"row_id": ["1", "2", "3"], "text": ["refund", "refund parcel", "parcel"]})
    assert label_matrix(functions, rows, LABELS)[:, 2:].tolist() == [[0, -1], [-1, 1], [-1, -1]]


def test_a_rule_reads_what_stands_before_it(tmp_path):
    text = (
        'from labeling.functions import implies\nFUNCTIONS = [\n    implies("rule", {"later": None}, "billing"),\n]\n'
    )
    (tmp_path / "functions.py").write_text(text)
    with pytest.raises(FunctionError, match=r"functions\.py:3: function 'rule': reads the votes of 'later'"):
        load_functions(tmp_path, LABELS)


SEEDS = {"billing": ["I was charged twice"], "delivery": ["my parcel has not arrived"]}
SAID = ["you charged me two times", "where is the package?", "the weather is fine", None, " "]


def test_nearest_votes_by_meaning():
    function = nearest("n", SEEDS, 0.4)
    rows = pl.DataFrame({"row_id": list("abcde"), "text": SAID})
    assert label_matrix([function], rows, LABELS)[:, 0].tolist() == [0, 1, -1, -1, -1]
    assert nearest("n", SEEDS, -1, 2).bind(LABELS).vote_on(rows).tolist() == [-1] * 5
    assert nearest("n", SEEDS, 0.4, field="said").bind(LABELS).vote_on(rows.rename({"text": "said"}))[0] == 0
    assert function.vote_on(rows.head(0)).dtype == np.int8


def test_nearest_takes_embeddings_that_are_known_and_encodes_the_rest():
    # Lent embeddings that say the opposite of the texts: what they say is what is voted.
    swapped = KnownTexts("minilm", 64, {SAID[0]: 1, SAID[1]: 0}, encode(SAID[:2]))
    rows = pl.DataFrame({"text": [*SAID, "I paid two times"]})
    function = nearest("n", SEEDS, 0.4).bind(LABELS)
    lend([function], swapped)
    assert function.vote_on(rows).tolist() == [1, 0, -1, -1, -1, 0]
    other = nearest("n", SEEDS, 0.4, max_length=32).bind(LABELS)
    lend([other], swapped)
    assert other.known is None and other.vote_on(rows).tolist() == [0, 1, -1, -1, -1, 0]


def test_nearest_names_a_missing_encoder():
    function = nearest("n", SEEDS, encoder="./nowhere").bind(LABELS)
    with pytest.raises(FunctionError, match=r"function 'n': nearest\(encoder=...\): no folder at './nowhere'"):
        function.vote_on(pl.DataFrame({"text": ["a"]}))


@pytest.mark.parametrize(
    ("seeds", "given"),
    [
        ({}, {}),
        ({"billing": []}, {}),
        ({"billing": "pay"}, {}),
        ({"billing": [" "]}, {}),
        ({"billing": ["a"]}, {"margin": 3}),
    ],
)
def test_nearest_refuses(seeds, given):
    with pytest.raises(FunctionError, match="function 'n': expected"):
        nearest("n", seeds, **given)
