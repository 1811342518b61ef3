"""The comparison of precisions runs, and its columns say what they name."""

import json

import pytest

from benchmarks import precisions


def test_every_side_is_weighed_and_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(precisions, "MINILM", precisions.STUDENT)  # the real one weighs 90 MB
    monkeypatch.setattr(precisions, "STUDENTS", {"128 x 1": precisions.STUDENTS["128 x 1"]})
    assert precisions.main(["--rounds", "1", "--requests", "1"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    rows = json.loads(last)
    assert len(table) == len(rows) + 2 == 2 + 2 + 2 * 5
    assert all(row["ms_16"] >= 0 and row["ms_32"] >= 0 for row in rows)
    sizes = {(row["format"], row["precision"]): row["bytes"] for row in rows if row["network"] == "128 x 1"}
    for form in ("litert", "onnx"):
        assert sizes[form, "float32"] > sizes[form, "int8"] > sizes[form, "int8, tables int4"] > sizes[form, "int4"]
