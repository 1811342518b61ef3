"""What a run leaves on Prefect's pages: tables and a summary of each app, and the training set and the model as assets.

Nothing here may fail a run: whatever Prefect cannot take stands in the reports.
"""

import os
from collections.abc import Container
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.assets import Asset, AssetProperties, add_asset_metadata, materialize
from prefect.cache_policies import NO_CACHE

from flows.apps import registered_app
from flows.progress import few_retries
from flows.redaction import hide
from flows.results import Results, as_markdown, read_results
from ledger.account import read
from ledger.parameters import read_yaml
from ledger.places import Places
from ledger.statement import PART_NAMES

Row = dict[str, Any]


def publish_results(app: str, moved: Container[str] | None = None) -> None:
    """Leave an app's results on Prefect's page of the run that this is called in.

    Parameters
    ----------
    app : str
        The app, which has run through.
    moved : container of str or None
        The labels of the stages that ran: an asset is materialized only where the stage that writes it did. None: both were.

    Raises
    ------
    DataError
        If a report of the app is missing.
    """
    results = read_results(app)
    candidates: Any = read(Places(app).candidates_report).content
    assets = _assets(app, results)
    key, log = artifact_key(app), get_run_logger()
    try:
        with few_retries():
            create_markdown_artifact(hide(as_markdown(results)), key=key, description=f"pricecut {app}")
            create_table_artifact(
                _clean(candidate_rows(candidates)), key=f"{key}-candidates", description=f"{app}: every candidate"
            )
            create_table_artifact(
                _clean(cost_rows(results)), key=f"{key}-costs", description=f"{app}: the statement of costs"
            )
            create_link_artifact(
                results.report,
                link_text=f"{results.report} on the machine that ran it",
                key=f"{key}-report",
                description=f"{app}: one page that works offline",
            )
            for stage, asset, needs, metadata in assets:
                if moved is None or f"{stage}@{app}" in moved:
                    _materialize(asset, needs, _clean(metadata))
    except Exception as error:  # a server that has gone, or takes no more, is no reason to fail what has run through
        log.warning("%s: Prefect did not take all of the results (%s); they stand in %s", app, error, results.report)


def artifact_key(app: str) -> str:
    """Return an app's name as Prefect's keys are written."""
    return app.replace("_", "-")


def candidate_rows(candidates: list[Row]) -> list[Row]:
    """Return the candidates as rows of a table, the chosen one first, then the cheapest."""
    kept = ("name", "role", "accuracy", "macro_f1", "bytes", "latency_ms", "texts_per_s", "passes", "chosen")
    ordered = sorted(candidates, key=lambda row: (not row["chosen"], row["bytes"], row["name"]))
    return [{name: row.get(name) for name in kept} for row in ordered]


def cost_rows(results: Results) -> list[Row]:
    """Return the statement of costs as rows of a table, the sum last."""
    statement, currency = results.statement, results.statement["currency"]

    def row(part: str, uncut: float, after: float) -> Row:
        saved = {f"saved, {currency}": round(uncut - after, 2)}
        return {"part": part, f"uncut, {currency}": uncut, f"this way, {currency}": after} | saved

    parts = [row(f"{p} {name}", statement["uncut"][p], statement["after"][p]) for p, name in PART_NAMES.items()]
    return [*parts, row("C", statement["C"], statement["C_after"])]


def _assets(app: str, results: Results) -> list[tuple[str, Asset, list[str], Row]]:
    """Return what a run makes: the stage that writes it, the asset, the keys of what it is made of, and facts about it."""
    places, audited = Places(app), read(Places(app).audit_report).content
    chosen = next(row for row in results.rows if row.what == "student")
    named = [(f"{app}: training set", places.training_set), (f"{app}: published model", places.published)]
    training_set, model = (
        Asset(key=asset_key(app, path), properties=AssetProperties(name=name, description=str(path)))
        for name, path in named
    )
    rows: Row = {name: audited[name] for name in ("rows", "trained", "unlabeled", "classes") if name in audited}
    scores = {"accuracy": chosen.accuracy, "macro_f1": chosen.macro_f1, "latency_ms": chosen.latency_ms}
    facts = {"name": chosen.name, "bytes": chosen.bytes, **scores, "test_rows": results.test_rows}
    sources = [f"pricecut://{app}/sources", f"pricecut://{app}/functions"]
    return [
        ("audit", training_set, sources, {"md5": recorded_hash(app, places.training_set), **rows}),
        (
            "evaluate",
            model,
            [training_set.key],
            {"md5": recorded_hash(app, places.published), **facts, "passed": results.passed},
        ),
    ]


def asset_key(app: str, path: Path) -> str:
    """Return an asset's key: the app and the file's name, nothing of the machine.

    Examples
    --------
    >>> asset_key("reviews", Path("data/reviews/training_set.parquet"))
    'pricecut://reviews/training_set'
    """
    return f"pricecut://{app}/{path.stem}"


def recorded_hash(app: str, path: Path) -> str | None:
    """Return the MD5 of an output as dvc.lock records it, or None where it does not."""
    pipeline = registered_app(app).pipeline
    lock = pipeline.with_suffix(".lock")
    stages = (read_yaml(lock).get("stages") or {}) if lock.exists() else {}
    wanted = {str(path), os.path.relpath(path, pipeline.parent)}
    outputs = (out for entry in stages.values() for out in entry.get("outs", ()))
    return next((str(out["md5"]) for out in outputs if out["path"] in wanted and "md5" in out), None)


def _materialize(asset: Asset, needs: list[str], metadata: Row) -> None:
    """Tell Prefect, by a task of its own, that an asset was written, and of what."""

    @materialize(
        asset,
        by="dvc",
        asset_deps=list(needs),
        name="publish",
        task_run_name=asset.key,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def publish() -> None:
        add_asset_metadata(asset, metadata)

    publish()


def _clean(value: Any) -> Any:
    """Return plain data with the secrets in its texts hidden."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value
