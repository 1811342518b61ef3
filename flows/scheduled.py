"""The flow that a schedule runs: bring an app up to date, and release its new model if it deserves it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed
from pydantic import Field

from flows import notify, storage, versions, waiting
from flows.apps import RegisteredApp, registered_app
from flows.gate import Verdict, compare, judge, read_gates
from flows.graph import Stage, read_graph, stages_of
from flows.holding import HeldError, holding
from flows.pipeline import run_pipeline
from flows.root import DAG_FILE, enter_root
from ledger.errors import ConfigurationError, DataError, PricecutError
from ledger.parameters import Parameters, read_parameters, read_yaml
from ledger.places import Places

NOTHING_NEW = "nothing new"
SEED = 1
"""Of the bootstrap by which two models are compared."""


class ScheduleParameters(Parameters):
    """The section ``schedule`` of ``params.yaml``."""

    branch: str = Field(min_length=1)
    git_remote: str | None
    keep: int = Field(ge=0)
    prune_remote: bool


@dataclass(frozen=True)
class Run:
    """What one scheduled run is about.

    Attributes
    ----------
    app : RegisteredApp
        The app.
    parameters : ScheduleParameters
        What params.yaml says.
    branch : str
        That its lock is committed on.
    stages : dict of str to Stage
        The app's, by address.
    lock : Path
        The ``dvc.lock`` of the app's pipeline.
    """

    app: RegisteredApp
    parameters: ScheduleParameters
    branch: str
    stages: dict[str, Stage]
    lock: Path

    def locked_here(self, last: str | None = None) -> dict[str, Any]:
        """Return what the working tree's lock says of the app's stages, or of one of them."""
        return self._locked(self.lock.read_text(encoding="utf-8") if self.lock.exists() else "", last)

    def locked_at(self, commit: str | None, last: str | None = None) -> dict[str, Any]:
        """Return what a commit's lock says of them; nothing where there is no commit."""
        return self._locked(versions.file_at(commit, self.lock) if commit else "", last)

    def _locked(self, lock: str, last: str | None) -> dict[str, Any]:
        names = [stage.label for stage in self.stages.values()]
        return versions.locked(lock, names if last is None else [f"{last}@{self.app.name}"])


@flow(name=waiting.FLOW, flow_run_name="{app}")
def renew(app: str, wait_for_review: int | None = None) -> Any:
    """Pull an app's sources, run it, and release the new model if it passes the gate.

    Parameters
    ----------
    app : str
        As in params.yaml.
    wait_for_review : int or None
        Seconds to wait for people's answers once the review queue is new; None does not wait.
    """
    try:
        enter_root()
        with holding(registered_app(app).name):
            return _renew(app, wait_for_review)
    except HeldError as held:
        return Completed(name="Skipped", message=f"{held}: nothing was done")
    except PricecutError as error:
        return Failed(message=f"exit {error.exit_code}: {error}")


def _renew(app: str, wait_for_review: int | None) -> State[Any]:
    log = get_run_logger()
    run = read_run(app)
    versions.check_branch(run.branch)
    if waiting.has_server() and waiting.suspended(app, but=runtime.flow_run.id):
        return Completed(name="Skipped", message=f"another run of '{app}' waits for answers: nothing was done")
    if run.parameters.git_remote is not None:
        versions.fetch(run.parameters.git_remote, run.branch, app)
    files = storage.tracked_sources(run.app.sources)
    storage.bring_sources(files)
    if run.locked_here() != run.locked_at(versions.tip(run.branch)) and storage.has_remote():
        storage.bring_history()

    if wait_for_review is not None:
        failed = _wait(run, wait_for_review)
        if failed is not None:
            return failed
    state = cast("State[Any]", run_pipeline(targets=[app], return_state=True))
    if not state.is_completed():
        return Failed(message=state.message)

    if run.locked_here() == run.locked_at(versions.tip(run.branch)):
        if run.parameters.git_remote is not None and versions.push(run.parameters.git_remote, run.branch, app):
            log.info("pushed to '%s' what an earlier run could not", run.parameters.git_remote)
        return Completed(message=NOTHING_NEW)

    known = versions.versions(app)
    current = known[0] if known else None
    verdict = decide(run, current)
    log.info("%s: %s", "released" if verdict.passed else "kept", verdict.why)
    if storage.has_remote():
        storage.push(run.stages)
    else:
        log.warning("DVC has no remote: what was made stays on this machine (`dvc remote add --default`)")
    before = versions.tip(run.branch)
    tree = versions.snapshot(app, [run.lock, *files])
    made = versions.commit(tree, run.branch, f"{app}: a scheduled run\n\n{verdict.why}\n")
    # The tag first: a run that dies between the two makes its commit again, and finds its model released.
    release = versions.register(app, made, verdict.why) if verdict.passed else None
    versions.advance(run.branch, made, before)
    if run.parameters.git_remote is not None:
        versions.push(run.parameters.git_remote, run.branch, app)
    if release is not None:
        prune(run)
        said = f"released {release.version}: {verdict.why}"
    else:
        said = f"kept {current.version if current else 'nothing'}: {verdict.why}"
    standing = release or current
    tell(app, "released" if release else "kept", said, standing.version if standing else None, made)
    return Completed(name="Released" if release else "Kept", message=said)


def read_run(app: str) -> Run:
    """Read what a scheduled run of an app is about."""
    parameters = read_parameters("schedule", ScheduleParameters)
    entry = registered_app(app)
    check_artifact(app)
    return Run(
        app=entry,
        parameters=parameters,
        branch=versions.branch_of(parameters.branch, app),
        stages=stages_of(read_graph(), app),
        lock=entry.pipeline.with_suffix(".lock"),
    )


def check_artifact(app: str) -> None:
    """Raise a ConfigurationError where DVC's model registry does not know an app's model."""
    stated = (read_yaml(DAG_FILE).get("artifacts") or {}).get(app)
    if stated is None or Path(stated["path"]) != Places(app).published:
        path = Places(app).published.as_posix()
        raise ConfigurationError(
            f"{DAG_FILE}: expected `artifacts: {{{app}: {{path: {path}, type: model}}}}`, by which DVC's model registry finds "
            "the app's releases; add it"
        )


def decide(run: Run, current: versions.Release | None) -> Verdict:
    """Hold the new model against the gates and the released version."""
    places = Places(run.app.name)
    gates = read_gates(places)
    if current is None or not gates["passed"]:
        return judge(gates, None, None)
    if published(run.locked_here(), places) == published(run.locked_at(current.commit), places):
        return Verdict(False, f"the model is the one of {current.version}")
    with tempfile.TemporaryDirectory(prefix="pricecut-") as folder:
        there = Path(folder) / "released"
        if not storage.bring_release(current, there):
            raise DataError(
                f"{current.tag}: its model is neither in DVC's cache nor at its remote, so nothing can be compared with it; "
                f"bring it back there, or take the version out of the registry: git tag -d {current.tag}"
            )
        return judge(gates, compare(places, there, gates["threads"], SEED), current.version)


def published(locked: dict[str, Any], places: Places) -> str | None:
    """Return the hash of the published model in a lock's stages; None where none of them wrote it."""
    outs = (out for stage in locked.values() for out in stage.get("outs", []))
    found = (out["md5"] for out in outs if Path(out["path"]).as_posix().endswith(places.published.as_posix()))
    return next(found, None)


def prune(run: Run) -> None:
    """Take versions beyond those to keep out of the registry, and what only they needed out of DVC's cache."""
    if not run.parameters.keep:
        return
    old = versions.versions(run.app.name)[run.parameters.keep :]
    for release in old:
        versions.forget(release, run.parameters.git_remote)
    if old:
        get_run_logger().info("pruned %s", ", ".join(release.tag for release in old))
        storage.remove_unused(run.parameters.prune_remote)


def tell(app: str, event: str, message: str, version: str | None, commit: str | None) -> None:
    """Tell the webhook, if there is one; a webhook that does not answer fails no run."""
    log = get_run_logger()
    try:
        address = notify.find_address()
    except PricecutError as error:
        log.warning("nobody was told: %s", error)
        return
    if address is not None:
        wrong = notify.send(address, notify.News(app, event, message, version, commit, runtime.flow_run.name))
        if wrong is not None:
            log.warning("the webhook: %s; nobody was told", wrong)


def _wait(run: Run, seconds: int) -> State[Any] | None:
    """Run up to the review queue; if it is new, suspend the run until answers are imported. A state where that failed."""
    log = get_run_logger()
    context = FlowRunContext.get()
    this = context.flow_run if context else None
    if this is None or this.deployment_id is None:
        log.warning("this run was not started by a schedule on a server, so it waits for nobody")
        return None
    app = run.app.name
    (address,) = [address for address, stage in run.stages.items() if stage.label == f"audit@{app}"]
    state = cast("State[Any]", run_pipeline(targets=[address], return_state=True))
    if not state.is_completed():
        return Failed(message=state.message)
    resumed = waiting.KEY in (this.empirical_policy.pause_keys or ())
    if resumed or run.locked_here("audit") == run.locked_at(versions.tip(run.branch), "audit"):
        return None
    how = f"pricecut review {app} --export rows.csv, then --import rows.csv --by NAME"
    tell(app, "waiting", f"waits {seconds} s for answers: {how}", None, None)
    waiting.wait_for_answers(this.deployment_id, app, seconds)
    return None
