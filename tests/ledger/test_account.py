import json
from pathlib import Path

import pytest

from ledger import account
from ledger.errors import ConfigurationError, DataError
from ledger.meter import Usage
from tests.ledger.conftest import reports


def accounted(places):
    account.main(places, Usage("account"))
    return json.loads(places.statement.read_text())


def test_the_parts_by_hand(places):
    statement = accounted(places)
    # D: 1000 rows at 0.10; or 100 gold rows and 2 functions at 8.00.
    assert (statement["uncut"]["D"], statement["after"]["D"]) == (100.0, 26.0)
    # H at 0.036 an hour. Uncut: collect, fuse, 0.5 h around the training, 10 h of training. After: 6 stages, 0.5 h, 1 h, 3 stages.
    assert statement["uncut"]["H"] == pytest.approx(0.04 + 0.04 + 0.02 + 0.36)
    assert statement["after"]["H"] == pytest.approx(6 * 0.04 + 0.02 + 0.04 + 3 * 0.04)
    # M: 0.1 GB, then 0.001 GB, on 10 replicas for 12 months, at 0.02 and 0.08.
    assert (statement["uncut"]["M"], statement["after"]["M"]) == (1.20, 0.01)
    # A: 10 ms, then 0.1 ms, a million times a month for a year.
    assert (statement["uncut"]["A"], statement["after"]["A"]) == (1.20, 0.01)
    assert statement["break_even_rows"] == 261


def test_labels_by_functions_can_cost_more_and_say_so(places):
    audit = reports(places)[places.audit_report] | {"rows": 200}
    places.audit_report.write_text(json.dumps(audit))
    statement = accounted(places)
    assert statement["delta"]["D"] == -6.0
    assert statement["C_after"] == pytest.approx(statement["C"] - sum(statement["delta"].values()))


def test_every_figure_names_a_file_that_holds_it(places):
    for figure in accounted(places)["figures"]:
        path, _, key = figure["source"].partition(": ")
        if figure["how"] not in ("measured", "extrapolated", "counted") or " " in key:
            continue
        value = json.loads(Path(path).read_text())
        for step in key.split("."):
            value = value[step]
        assert value == figure["value"]


def test_the_extrapolated_figure_says_so(places):
    found = {figure["name"]: figure["how"] for figure in accounted(places)["figures"]}
    assert found["teach.uncut_cpu_s"] == "extrapolated" and found["student.bytes"] == "measured"


def test_a_stage_that_was_not_run_here_is_named(places):
    teach = reports(places)[places.meter("teach")]
    teach["earlier"]["label"] = None
    places.meter("teach").write_text(json.dumps(teach))
    statement = accounted(places)
    assert any(note.startswith("label: taken from DVC's cache") for note in statement["notes"])
    assert not any("label: CPU" in term["what"] for term in statement["terms"])


def test_a_missing_report_names_the_file(places):
    places.metrics.unlink()
    with pytest.raises(DataError, match=r"reports/small/metrics\.json: not found; run the pipeline first"):
        accounted(places)


def test_a_missing_figure_names_file_and_key(places):
    metrics = reports(places)[places.metrics]
    del metrics["student"]["bytes"]
    places.metrics.write_text(json.dumps(metrics))
    with pytest.raises(DataError, match=r"metrics\.json: expected a number at 'student\.bytes', got None"):
        accounted(places)


def test_a_negative_price_is_refused(places):
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("label: 0.1\n", "label: -0.1\n"))
    with pytest.raises(
        ConfigurationError, match=r"params\.yaml:\d+: prices\.label: .*greater than or equal to 0, got -0\.1"
    ):
        accounted(places)


def test_break_even_is_where_functions_cost_less(places):
    """At 0.30 spent and 0.10 a label, 3 rows cost the same and 4 cost more."""
    audit = reports(places)[places.audit_report] | {"gold": 3}
    functions = reports(places)[places.functions_report] | {"functions": []}
    places.audit_report.write_text(json.dumps(audit))
    places.functions_report.write_text(json.dumps(functions))
    assert accounted(places)["break_even_rows"] == 4
