"""Schedules on a real server, with real workers. The first test is part of every run, on PostgreSQL: test_postgres.py."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.flows.listening import Listener, listener
from tests.flows.servers import server, wait_until, worker
from tests.flows.toy import Toy, make_toy

pytestmark = pytest.mark.slow
NIGHTLY = ("--cron", "0 3 * * *")


@pytest.fixture(scope="module")
def prefect(tmp_path_factory) -> Iterator[dict[str, str]]:
    with server(tmp_path_factory.mktemp("server")) as settings:
        yield settings


@pytest.fixture(scope="module")
def hook() -> Iterator[Listener]:
    with listener() as one:
        yield one


@pytest.fixture
def toy(tmp_path: Path, prefect: dict[str, str], request) -> Iterator[Toy]:
    """A project whose app is named after the test, so that tests share the server only."""
    made = make_toy(tmp_path, prefect, app=request.node.name.removeprefix("test_")[:40].rstrip("_"))
    yield made
    made.run("pricecut", "schedule", made.app, "--remove", check=False)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def told(hook: Listener, app: str) -> list[str]:
    return [news["event"] for news in hook.got if news["app"] == app]


def sleeping(toy: Toy) -> int:
    """The process id of what a stage of the toy has started."""
    path = toy.root / "sleeping.pid"
    wait_until(lambda: path.exists() and path.read_text(), 60, "the stage runs")
    return int(path.read_text())


def test_put_on_listed_and_taken_off(toy: Toy):
    done = toy.run("pricecut", "schedule", toy.app, *NIGHTLY, "--timezone", "Europe/Zurich", "--wait-for-review", "8h")
    assert f"{toy.app} is renewed at '0 3 * * *' Europe/Zurich" in done.stdout and "nobody is told" in done.stdout
    toy.run("pricecut", "schedule", toy.app, "--cron", "30 4 * * 1-5")  # in its place, not beside it
    (one,) = [row for row in toy.schedules() if row["app"] == toy.app]
    assert (one["cron"], one["timezone"], one["wait_for_review"], one["active"]) == ("30 4 * * 1-5", "UTC", None, True)
    wait_until(lambda: toy.schedules()[0]["next_run"], 60, "the server plans the next run")
    assert "30 4 * * 1-5" in toy.run("pricecut", "schedule", "--list").stdout
    assert "is not renewed any more" in toy.run("pricecut", "schedule", toy.app, "--remove").stdout
    assert [row for row in toy.schedules() if row["app"] == toy.app] == []
    done = toy.run("pricecut", "schedule", toy.app, "--remove", check=False)
    assert done.returncode == 2 and "no schedule of" in done.stderr
    left = toy.run("prefect", "automation", "ls").stdout
    assert toy.app not in left


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cron", "every night"], "--cron 'every night' --timezone 'UTC': expected five fields"),
        (["--cron", "0 3 * * *", "--timezone", "Mars/Phobos"], "--timezone 'Mars/Phobos'"),
        (
            ["--cron", "0 3 * * *", "--wait-for-review", "soon"],
            "--wait-for-review 'soon': expected a number and s, m, h or d",
        ),
        ([], "expected one of --cron, --remove and --list"),
    ],
)
def test_mistakes(tmp_path, prefect, options, message):
    toy = make_toy(tmp_path, prefect)
    done = toy.run("pricecut", "schedule", "toy", *options, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    done = toy.run("pricecut", "schedule", "nobody", *NIGHTLY, check=False)
    assert done.returncode == 2 and "no app 'nobody'" in done.stderr


def test_a_server_that_is_none(tmp_path):
    toy = make_toy(tmp_path, {"PREFECT_HOME": str(tmp_path / "none")})
    done = toy.run("pricecut", "schedule", "toy", *NIGHTLY, check=False)
    assert (
        done.returncode == 2 and "one that ends with each run cannot schedule: start one (`make server`)" in done.stderr
    )
    done = toy.run("pricecut", "schedule", "toy", *NIGHTLY, check=False, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2 and "the Prefect server does not answer" in done.stderr


def test_nothing_new_ends_in_seconds(toy: Toy):
    toy.source(right=180)
    toy.run("pricecut", "schedule", toy.app, *NIGHTLY)
    with worker(toy):
        first = toy.start()
        wait_until(lambda: toy.state(first)[0] == "Released", 90, "released")
        before = toy.git("for-each-ref")
        second = toy.start()
        started = wait_until(lambda: toy.state(second)[0] == "Running" and time.monotonic(), 60, "the second run runs")
        wait_until(lambda: toy.state(second) == ("Completed", "nothing new"), 60, "nothing new")
    assert time.monotonic() - started < 20  # 3 s where the machine is idle
    assert toy.git("for-each-ref") == before
    assert toy.run("dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_two_that_meet_and_a_cancelled_one(toy: Toy):
    """The second is dropped; cancelling the first ends what its stage has started, and the next run does the work."""
    toy.source(right=180, sleep=300)
    toy.run("pricecut", "schedule", toy.app, *NIGHTLY)
    with worker(toy):
        first = toy.start()
        child = sleeping(toy)
        second = toy.start()
        wait_until(lambda: toy.state(second)[0] == "Cancelled", 60, "the second is dropped")
        assert "concurrency limit" in toy.state(second)[1]
        assert toy.renew() == (
            "Skipped",
            f"another scheduled run of '{toy.app}' is going on this machine: nothing was done",
        )
        toy.run("prefect", "flow-run", "cancel", first)
        wait_until(lambda: not is_alive(child), 60, "the stage's child is ended")
        wait_until(lambda: toy.state(first)[0] == "Cancelled", 60, "the first is cancelled")
        toy.source(right=180)
        third = toy.start()
        wait_until(lambda: toy.state(third)[0] == "Released", 90, "the third does the work")
    mine = [process for process in psutil.process_iter(["cwd", "cmdline"]) if process.info["cwd"] == str(toy.root)]
    assert [process.info["cmdline"] for process in mine] == []


def test_failed_runs_are_told_by_the_server(toy: Toy, hook: Listener):
    toy.source(right=180, fails=True)
    done = toy.run("pricecut", "schedule", toy.app, *NIGHTLY, PRICECUT_WEBHOOK_URL=hook.url)
    assert "nobody is told" not in done.stdout
    with worker(toy):
        first = toy.start()
        wait_until(lambda: told(hook, toy.app) == ["failed"], 90, "the failure is told")
        assert "it fails, as asked" in hook.got[-1]["message"] and hook.got[-1]["state"] == "Failed"
        assert toy.state(first)[0] == "Failed" and toy.git("tag") == ""
        toy.source(right=180)
        toy.start()
        wait_until(lambda: told(hook, toy.app) == ["failed", "released"], 90, "the release is told")
    assert hook.got[-1]["version"] == "v0.0.1" and hook.got[-1]["commit"] == toy.git("rev-parse", f"releases/{toy.app}")
    logs = "".join(path.read_text() for path in toy.root.parent.glob("*.log"))
    shown = toy.run("prefect", "flow-run", "logs", first).stdout + toy.run("prefect", "block", "ls").stdout
    assert "s3cr3t" not in logs + shown


def test_a_run_waits_for_answers(toy: Toy, hook: Listener):
    """Suspended, with no process; resumed by the import, whose answers are then in the training set."""
    toy.source(right=180)
    toy.run("pricecut", "schedule", toy.app, *NIGHTLY, "--wait-for-review", "1h", PRICECUT_WEBHOOK_URL=hook.url)
    with worker(toy):
        run = toy.start()
        wait_until(lambda: toy.state(run)[0] == "Suspended", 90, "it waits")
        assert told(hook, toy.app) == ["waiting"] and f"pricecut review {toy.app} --export" in hook.got[-1]["message"]
        assert toy.git("tag") == ""
        assert toy.renew() == ("Skipped", f"another run of '{toy.app}' waits for answers: nothing was done")

        (toy.root / "rows.csv").write_text("row_id,label\nw1,yes\nw2,no\n")
        done = toy.run("pricecut", "review", toy.app, "--import", "rows.csv", "--by", "Zoë", "--as-is")
        assert "the scheduled run that waited for these answers goes on" in done.stdout
        wait_until(lambda: toy.state(run)[0] == "Released", 90, "it goes on")
    assert '"answers": 2' in (toy.root / f"data/{toy.app}/training_set.json").read_text()
    assert told(hook, toy.app) == ["waiting", "released"]
    again = toy.run("pricecut", "review", toy.app, "--import", "rows.csv", "--by", "Zoë", "--as-is", "--json")
    assert '"resumed": []' in again.stdout


def test_a_run_goes_on_without_answers(toy: Toy):
    toy.source(right=180)
    toy.run("pricecut", "schedule", toy.app, *NIGHTLY, "--wait-for-review", "10s")
    with worker(toy):
        run = toy.start()
        wait_until(lambda: toy.state(run)[0] == "Suspended", 90, "it waits")
        wait_until(lambda: toy.state(run)[0] == "Released", 120, "it goes on without")
        toy.source(right=180)
        again = toy.start()
        wait_until(lambda: toy.state(again) == ("Completed", "nothing new"), 90, "no new queue, so it waits for nobody")


def test_an_import_stands_where_the_server_does_not_answer(toy: Toy):
    toy.source(right=180)
    toy.run("dvc", "repro", f"audit@{toy.app}")
    (toy.root / "rows.csv").write_text("row_id,label\nw1,yes\n")
    taken = ("review", toy.app, "--import", "rows.csv", "--by", "Zoë", "--as-is", "--json")
    done = toy.run("pricecut", *taken, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert '"added": 1' in done.stdout and "no scheduled run was resumed" in done.stderr


def test_a_dead_machine_is_noticed(toy: Toy, hook: Listener):
    """Worker and flow are killed: the server calls the run crashed and tells; the next run goes on."""
    toy.environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = "30"
    toy.source(right=180, sleep=300)
    toy.run("pricecut", "schedule", toy.app, *NIGHTLY, PRICECUT_WEBHOOK_URL=hook.url)
    shorter = (
        "from prefect.client.orchestration import get_client\nfrom flows.automations import notice_deaths\n"
        f"deployment = get_client(sync_client=True).read_deployment_by_name('renew/{toy.app}')\n"
        f"notice_deaths(deployment.id, '{toy.app}', within_s=45)"
    )
    toy.run("python", "-c", shorter)
    with worker(toy) as process:
        run = toy.start()
        child = sleeping(toy)
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            one.kill()
        if is_alive(child):
            os.kill(child, 9)
    wait_until(lambda: toy.state(run)[0] == "Crashed", 120, "the run is called crashed")
    wait_until(lambda: told(hook, toy.app) == ["failed"], 30, "the crash is told")
    toy.source(right=180)
    with worker(toy, "another"):
        again = toy.start()
        wait_until(lambda: toy.state(again)[0] == "Released", 150, "the next run goes on")
