import json
import re

from ledger import account, report
from ledger.meter import Usage
from tests.ledger.conftest import reports


def page(places):
    account.main(places, Usage("account"))
    report.main(places, Usage("report"))
    return places.report.read_text(encoding="utf-8")


def test_the_page_loads_nothing(places):
    html = page(places)
    assert "<script" not in html and "@import" not in html
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', html) == []
    assert re.findall(r"url\((?!#)[^)]*\)", html) == []


def test_text_of_the_data_is_escaped(places):
    html = page(places)
    assert "Is &lt;b&gt;it&lt;/b&gt; good?" in html and "<b>it</b>" not in html


def test_generated_data_are_said_to_be(places):
    collected = reports(places)[places.collect_report] | {"generated": "Every row here is invented."}
    assert "Every row here is invented." not in page(places)
    places.collect_report.write_text(json.dumps(collected))
    assert "Every row here is invented." in page(places)


def test_the_figures_are_the_reports(places):
    html = page(places)
    assert "100.0 × smaller" in html and "0.10 ms a request" in html
    assert html.count("<svg") == 2
    for stated in ("261 rows on", "majority 90.0 %", "1 × no text"):
        assert stated in html


def test_missed_gates_are_shown(places):
    metrics = reports(places)[places.metrics]
    metrics["gates"] |= {"passed": False, "misses": {"bytes": 12.0}}
    places.metrics.write_text(json.dumps(metrics))
    assert "bytes by 12.0" in page(places)
