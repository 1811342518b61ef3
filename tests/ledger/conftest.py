"""The reports that `account` and `report` read, as the stages leave them: small, made by hand."""

import json
from pathlib import Path

import pytest
import yaml

from ledger.places import Places

PRICES = {
    "currency": "EUR",
    "label": 0.10,
    "function": 8.0,
    "cpu_hour": 0.036,
    "gpu_hour": 2.5,
    "storage_gb_month": 0.02,
    "transfer_gb": 0.08,
    "replicas": 10,
    "requests_month": 1_000_000,
    "months": 12,
}


def usage(stage, cpu_s, **figures):
    return {"stage": stage, "wall_s": cpu_s, "cpu_s": cpu_s, "gpu_s": 0.0, "peak_rss_bytes": 1, "figures": figures}


def scored(name, size, latency):
    return {
        "name": name,
        "accuracy": 0.9,
        "accuracy_interval": [0.85, 0.95],
        "macro_f1": 0.89,
        "macro_f1_interval": [0.84, 0.94],
        "bytes": size,
        "latency_ms": latency,
        "texts_per_s": 1000.0,
        "ece": 0.05,
    }


def candidate(name, role, size, latency, passes, chosen):
    form, precision = name.split("-")[-2:]
    place = {"role": role, "format": form, "precision": precision, "passes": passes, "chosen": chosen}
    return scored(name, size, latency) | place


def function(name, **changes):
    return {
        "name": name,
        "kind": "keyword",
        "labels": ["good"],
        "coverage": 0.5,
        "overlaps": 0.2,
        "conflicts": 0.1,
        "accuracy_gold": None,
        "gold_votes": 0,
        "worth": None,
    } | changes


def reports(places):
    earlier = {stage: usage(stage, 3600.0) for stage in ("collect", "fuse", "embed", "vote", "label", "audit")}
    teach = usage(
        "teach", 7200.0, train_cpu_s=3600.0, measuring_cpu_s=1800.0, uncut_cpu_s_extrapolated=36000.0, full_step_s=1.0
    )
    names = ["praise", "blame"]
    return {
        places.collect_report: {
            "title": "Is <b>it</b> good?",
            "generated": None,
            "labels": ["bad", "good"],
            "sources": {"shop": {"file": "shop.csv", "rows": 9, "kept": 8, "rejected": 1, "reasons": {"no text": 1}}},
        },
        places.fuse_report: {
            "records": 8,
            "messages": 7,
            "merged": 1,
            "held_back": 0,
            "conflicts": 0,
            "fields": {},
            "splits": {"train": 4, "gold": 1, "test": 2},
            "reliability": {"shop": 0.8},
        },
        places.vote_report: {"rows": 5, "functions": [{"name": n, "errors": 0, "first_error": None} for n in names]},
        places.functions_report: {
            "label_model": "majority",
            "scores": {"majority": 0.9},
            "class_balance": {},
            "functions": [function(name) for name in names],
        },
        places.audit_report: {
            "rows": 1000,
            "covered": 900,
            "trained": 800,
            "unlabeled": 100,
            "gold": 100,
            "low_confidence": 5,
            "issues": 3,
            "outliers": 1,
            "near_duplicates": 0,
            "classes": {"bad": 400, "good": 400},
        },
        places.metrics: {
            "test_rows": 2,
            "label": {"accuracy": 0.9, "coverage": 0.95, "accuracy_all": 0.88, "macro_f1": 0.9},
            "teacher": scored("teacher-onnx-float32", 100_000_000, 10.0),
            "student": scored("student-w64-d1-onnx-int8", 1_000_000, 0.1) | {"robustness": {"typos": 0.8}},
            "gates": {
                "passed": True,
                "misses": {},
                "asked": {"retained_macro_f1": 0.98},
                "retained_macro_f1": 1.0,
                "chosen_on": "gold sample, labeled by hand",
                "chosen_on_rows": 1,
                "threads": 1,
                "times_smaller": 100.0,
                "times_faster": 100.0,
            },
        },
        places.candidates_report: [
            candidate("teacher-onnx-float32", "teacher", 100_000_000, 10.0, passes=False, chosen=False),
            candidate("student-w64-d1-onnx-int8", "student", 1_000_000, 0.1, passes=True, chosen=True),
        ],
        places.meter("teach"): teach | {"earlier": earlier},
        places.meter("distill"): usage("distill", 3600.0),
        places.meter("substitute"): usage("substitute", 0.0),
        places.meter("compress"): usage("compress", 3600.0),
        places.meter("evaluate"): usage("evaluate", 3600.0),
    }


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The places of an app of which everything before `account` has run."""
    monkeypatch.chdir(tmp_path)
    found = Places("small", Path())
    for path, content in reports(found).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    Path("params.yaml").write_text(yaml.safe_dump({"prices": PRICES}), encoding="utf-8")
    return found
