"""What a run leaves on Prefect's pages, read back by the client from a real server."""

import json
import time
from pathlib import Path
from uuid import UUID

import pytest

from flows import redaction
from flows.artifacts import artifact_key, asset_key, candidate_rows, recorded_hash
from ledger.places import Places
from tests.flows.small import make

APP = "two_words"
SECRET = "sk-of-nobody-123"


def write(path: Path, document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def candidate(name: str, size: int, chosen: bool = False):
    scores = {"accuracy": 0.9, "macro_f1": 0.89, "latency_ms": 0.4, "texts_per_s": 1800.0}
    return {"name": name, "role": "student", "format": "onnx", "bytes": size, "passes": True, "chosen": chosen} | scores


@pytest.fixture
def app(tmp_path, monkeypatch) -> Places:
    """The reports of an app that has run."""
    monkeypatch.chdir(tmp_path)
    places = Places(APP)
    scored = {"accuracy": 0.9, "macro_f1": 0.89, "bytes": 1000, "latency_ms": 0.4}
    write(
        places.metrics,
        {
            "test_rows": 219,
            "label": {"accuracy": 0.95, "macro_f1": 0.94},
            "teacher": scored | {"name": "teacher-onnx"},
            "student": scored | {"name": f"student-{SECRET}"},
            "gates": {"passed": True, "misses": {}},
        },
    )
    amounts = {"D": 4.0, "H": 3.0, "M": 2.0, "A": 1.0}
    statement = {"currency": "EUR", "C": 10.0, "C_after": 5.0, "saved": 0.5, "delta": amounts}
    write(places.statement, statement | {"uncut": amounts, "after": {part: x / 2 for part, x in amounts.items()}})
    write(places.collect_report, {"generated": None})
    write(places.functions_report, {"label_model": "snorkel"})
    write(places.audit_report, {"rows": 862, "trained": 757, "unlabeled": 0, "classes": {"spam": 143}})
    write(places.candidates_report, [candidate("b", 500), candidate("a", 400), candidate("best", 900, chosen=True)])
    Path("params.yaml").write_text(f"apps:\n  {APP}:\n    sources: data/{APP}/sources\n")
    Path("dvc.yaml").write_text("stages: {}\n")
    outs = [(places.training_set, "aa11"), (places.published, "bb22.dir")]
    Path("dvc.lock").write_text(
        "schema: '2.0'\nstages:\n"
        + "".join(f"  s{md5}:\n    cmd: x\n    outs:\n    - path: {path}\n      md5: {md5}\n" for path, md5 in outs)
    )
    return places


def test_candidates_come_the_chosen_first_then_the_cheapest():
    rows = candidate_rows([candidate("b", 500), candidate("a", 400), candidate("best", 900, chosen=True)])
    assert [row["name"] for row in rows] == ["best", "a", "b"] and "format" not in rows[0]


def test_a_hash_is_the_one_that_dvc_recorded(app):
    assert recorded_hash(APP, app.training_set) == "aa11"
    assert recorded_hash(APP, app.published) == "bb22.dir"
    assert recorded_hash(APP, app.report) is None
    Path("dvc.lock").unlink()
    assert recorded_hash(APP, app.training_set) is None


def test_a_hash_of_another_pipelines_lock(app):
    Path("params.yaml").write_text("apps: {}\n")
    Path("benchmarks").mkdir()
    Path("benchmarks/params.yaml").write_text(f"apps:\n  {APP}:\n    sources: benchmarks/public/x\n")
    Path("benchmarks/dvc.lock").write_text(Path("dvc.lock").read_text().replace("path: data", "path: ../data"))
    assert recorded_hash(APP, app.training_set) == "aa11" and recorded_hash(APP, app.published) == "bb22.dir"


def test_keys_say_nothing_of_the_machine(app):
    assert asset_key(APP, app.training_set) == f"pricecut://{APP}/training_set"
    assert asset_key(APP, app.published) == f"pricecut://{APP}/published"
    assert artifact_key(APP) == "two-words"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prefect server of its own, for all tests of this module."""
    from prefect.settings import (
        PREFECT_HOME,
        PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")
    settings = {PREFECT_HOME: home, PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: 0.2}
    with temporary_settings(settings), prefect_test_harness(server_startup_timeout=180):
        yield


def run_flow(work) -> UUID:
    """Run something inside a flow, and return the run's id."""
    from prefect import flow
    from prefect.runtime import flow_run

    @flow
    def tested() -> UUID:
        work()
        return UUID(flow_run.id)

    return tested()


def artifacts(run: UUID) -> dict:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=wanted)}


def asset_events(app: str, wanted: int, seconds: float = 20) -> list:
    """Read the events of an app's assets; they arrive after the run has ended."""
    import asyncio

    from prefect.client.orchestration import get_client
    from prefect.events.filters import EventFilter, EventNameFilter

    async def ask():
        async with get_client() as client:
            page = await client.read_events(EventFilter(event=EventNameFilter(prefix=["prefect.asset."])), limit=50)
            return [event for event in page.events if event.resource.id.startswith(f"pricecut://{app}/")]

    end = time.monotonic() + seconds
    while len(found := asyncio.run(ask())) < wanted and time.monotonic() < end:
        time.sleep(0.1)
    return found


def test_an_apps_results_on_the_page_of_its_run(app, server, monkeypatch, tmp_path):
    from flows.artifacts import publish_results

    monkeypatch.setenv("SOME_API_KEY", SECRET)
    redaction._redactor_of.cache_clear()
    found = artifacts(run_flow(lambda: publish_results(APP)))
    assert set(found) == {"two-words", "two-words-candidates", "two-words-costs", "two-words-report"}
    assert found["two-words"].type == "markdown" and "| student student-*** | 0.9 |" in found["two-words"].data
    table = json.loads(found["two-words-candidates"].data)
    assert [row["name"] for row in table] == ["best", "a", "b"] and table[0]["latency_ms"] == 0.4
    costs = json.loads(found["two-words-costs"].data)
    assert costs[0] == {"part": "D labels", "uncut, EUR": 4.0, "this way, EUR": 2.0, "saved, EUR": 2.0}
    assert costs[-1]["part"] == "C" and costs[-1]["saved, EUR"] == 5.0
    assert "(reports/two_words/report.html)" in found["two-words-report"].data

    events = asset_events(APP, 5)
    made = {e.resource.id: e for e in events if e.event == "prefect.asset.materialization.succeeded"}
    assert set(made) == {"pricecut://two_words/training_set", "pricecut://two_words/published"}
    training_set, model = (made[f"pricecut://two_words/{name}"] for name in ("training_set", "published"))
    assert training_set.payload == {
        "md5": "aa11",
        "rows": 862,
        "trained": 757,
        "unlabeled": 0,
        "classes": {"spam": 143},
    }
    assert model.payload["md5"] == "bb22.dir" and model.payload["accuracy"] == 0.9 and model.payload["passed"] is True
    assert {"pricecut://two_words/training_set", "dvc"} <= {related.id for related in model.related}
    assert {"pricecut://two_words/sources", "pricecut://two_words/functions"} <= {r.id for r in training_set.related}
    everything = "".join(event.model_dump_json() for event in events) + str(found)
    assert SECRET not in everything and str(tmp_path) not in everything


def test_only_what_was_written_is_materialized(app, server, monkeypatch):
    from flows.artifacts import publish_results

    monkeypatch.setattr("flows.artifacts.asset_key", lambda _, path: f"pricecut://moved/{path.stem}")
    run_flow(lambda: publish_results(APP, moved={f"evaluate@{APP}", "audit@another"}))
    events = asset_events("moved", 2)
    made = [event.resource.id for event in events if "materialization" in event.event]
    assert made == ["pricecut://moved/published"]


def test_progress_is_one_artifact_a_run(server, monkeypatch):
    from flows import progress as module

    monkeypatch.setattr(module, "TELL_EVERY", 0.01)
    seen = []

    def work():
        with module.progress(4) as ended:
            for label in ("collect@a", "fuse@a", "vote@a"):
                ended(label)
                seen.append(label)

    found = artifacts(run_flow(work))
    assert list(found) == ["pricecut-stages"]
    shown = found["pricecut-stages"]
    assert (shown.type, shown.data, shown.description) == ("progress", 75.0, "3 of 4 stages, last vote@a")


def test_progress_is_told_at_the_end_of_a_run_that_fails(server):
    from flows.progress import progress

    runs = []

    def work():
        from prefect.runtime import flow_run

        runs.append(UUID(flow_run.id))
        with progress(2) as ended:
            ended("collect@a")
            raise ValueError("ended")

    with pytest.raises(ValueError, match="ended"):
        run_flow(work)
    assert artifacts(runs[0])["pricecut-stages"].data == 50.0


def test_a_server_that_takes_nothing_fails_no_run(app, server, monkeypatch):
    from flows.artifacts import publish_results
    from flows.progress import progress

    def refuse(*_, **__):
        raise ConnectionError("gone")

    monkeypatch.setattr("flows.artifacts.create_markdown_artifact", refuse)
    monkeypatch.setattr("flows.progress.create_progress_artifact", refuse)
    done = []

    def work():
        with progress(1) as ended:
            ended("x")
        publish_results(APP)
        done.append(True)

    assert artifacts(run_flow(work)) == {} and done == [True]


def test_a_server_that_dies_keeps_no_run_waiting(server, monkeypatch):
    from prefect.client.orchestration import get_client

    from flows import progress as module

    took = []

    def hang(*_, **__):
        time.sleep(60)

    monkeypatch.setattr(module, "TELL_EVERY", 0.01)
    monkeypatch.setattr(module, "LAST_WORD", 0.1)
    monkeypatch.setattr(module, "update_progress_artifact", hang)

    def work():
        start = time.monotonic()
        with module.progress(3) as ended:
            for label in "abc":
                ended(label)
                time.sleep(0.05)
        took.append(time.monotonic() - start)

    run = run_flow(work)
    assert took[0] < 5 and artifacts(run)["pricecut-stages"].data == 0.0
    with get_client(sync_client=True) as client, module.few_retries():
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES

        assert PREFECT_CLIENT_MAX_RETRIES.value() == 1 and client.api_healthcheck() is None


def test_secrets_are_nowhere_on_the_page_of_a_run(server, tmp_path, monkeypatch):
    from prefect.client.orchestration import get_client

    from flows.pipeline import run_pipeline

    root = make(
        tmp_path / "project",
        {"a": {"cmd": "echo I hold $SOME_API_KEY", "deps": ["in.txt"], "outs": ["a.txt"]}},
        in__txt="x",
    )
    monkeypatch.chdir(root)
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    redaction._redactor_of.cache_clear()
    state = run_pipeline(return_state=True)
    assert state.is_failed() and "a.txt" in state.message  # it wrote nothing
    run = state.state_details.flow_run_id

    with get_client(sync_client=True) as client:
        end = time.monotonic() + 20
        while not any("I hold" in log.message for log in client.read_logs()) and time.monotonic() < end:
            time.sleep(0.2)
        logs = client.read_logs()
        everything = [log.message for log in logs] + [
            str(artifacts(run)),
            state.message,
            str(client.read_flow_run(run)),
        ]
    assert "I hold ***" in everything and not any(SECRET in said for said in everything)
    assert artifacts(run)["pricecut-stages"].data == 100.0
    assert not any(SECRET.encode() in path.read_bytes() for path in root.rglob("*") if path.is_file())
