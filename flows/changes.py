"""Says why a stage would run, or why not, without running anything and without writing to the repository."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from flows.causes import LOST, MISSING, Cause, changed_file, in_question, output_cause, parameter_causes, shown
from flows.commits import Since, commits_since
from flows.graph import graph_of, planned
from flows.lockfile import parse
from flows.objects import is_whole
from flows.reading import earlier_outputs, open_for_reading


class Verdict(StrEnum):
    """What a run would do with a stage."""

    RUN = "run"
    """Its command would be run."""
    RESTORE = "restore"
    """Its outputs would be brought back from DVC's cache: an earlier run had the same inputs."""
    DEPENDS = "depends"
    """It would run if what a stage before it writes comes out different."""
    KEEP = "keep"
    """Nothing: it is as it was left."""


@dataclass(frozen=True)
class Reason:
    """Why a stage would run, or why not.

    Attributes
    ----------
    stage : str
        Its address.
    verdict : Verdict
        What a run would do.
    causes : tuple of Cause
        All of them; none where it is as it was left.
    """

    stage: str
    verdict: Verdict
    causes: tuple[Cause, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


@dataclass
class _Seen:
    """What is known so far, stage by stage in the order of the graph."""

    root: Path
    writers: dict[str, str] = field(default_factory=dict)
    """The stage that writes a path."""
    settled: set[str] = field(default_factory=set)
    """Stages whose outputs are in the workspace as a run would leave them."""
    restored: dict[str, Any] = field(default_factory=dict)
    """Outputs, as DVC's, of stages whose results would be brought back: what those stages' paths will hold."""
    locks: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def name(self, item: Any) -> str:
        """Return a path, relative to the root."""
        return os.path.relpath(item.fs_path, self.root)

    def writer(self, path: str) -> str | None:
        """Return the stage that writes a path, a folder above it, or what stands in it; one that is not settled, if there is one."""
        inside = f"{path}{os.sep}"
        writers = [self.writers[p] for p in (path, *map(str, Path(path).parents)) if p in self.writers]
        writers += [stage for out, stage in self.writers.items() if out.startswith(inside)]
        return min(writers, key=lambda stage: stage in self.settled, default=None)

    def coming(self, path: str) -> tuple[Any, Any] | None:
        """Return what DVC's cache would bring back for a path, as DVC's meta and hash; None where that is not known."""
        if path in self.restored:
            return self.restored[path].meta, self.restored[path].hash_info
        for folder in map(str, Path(path).parents):
            if folder in self.restored and (tree := self.restored[folder].get_obj()) is not None:
                key = Path(path).relative_to(folder).parts
                return next(((meta, info) for name, meta, info in tree if name == key), None)
        return None


def explain(targets: Iterable[str]) -> list[Reason]:
    """Say of each stage why it would run, or why not.

    Parameters
    ----------
    targets : iterable of str
        Apps, stages or pipeline files, as ``pricecut run`` takes them; what these need is judged too.

    Returns
    -------
    list of Reason
        In the order of the graph.

    Raises
    ------
    ConfigurationError
        If this is no DVC repository, a dvc.yaml cannot be read, or a target names nothing.
    """
    with open_for_reading() as repo:
        plan, seen = planned(graph_of(repo), targets), _Seen(Path(repo.root_dir))
        stages = {stage.addressing: stage for stage in repo.index.stages}
        reasons = []
        for address in plan:
            reasons.append(_judge(stages[address], seen))
            seen.writers |= {out.fs_path: address for out in stages[address].outs}
        return _with_commits(reasons, seen.root)


def _judge(stage: Any, seen: _Seen) -> Reason:
    """Judge one stage, those before it having been judged."""
    if stage.frozen:
        seen.settled.add(stage.addressing)
        return Reason(stage.addressing, Verdict.KEEP, (Cause("frozen", "", "frozen in dvc.yaml: never run"),))
    lock = _lock_entry(stage, seen)
    causes, open_questions = [], []
    if lock is None:
        causes.append(Cause("never run", "", "never run: dvc.lock has no entry of it"))
    elif stage.cmd_changed:
        before, after = lock.get("cmd"), stage.cmd
        causes.append(Cause("command", "", f"command changed: {shown(before)} → {shown(after)}", before, after))
    if stage.is_callback or stage.always_changed:
        causes.append(Cause("always", "", "always run: dvc.yaml says so, or it has neither dependencies nor outputs"))
    known = True
    for dep in stage.deps:
        if hasattr(dep, "read_params"):
            turned = parameter_causes(dep, seen.name(dep))
            causes += turned if lock is not None else []
            continue
        path, before = seen.name(dep), dep.hash_info.value
        writer = seen.writer(dep.fs_path)
        if writer is not None and writer not in seen.settled:
            coming = seen.coming(dep.fs_path)
            if coming is None:
                known = False
                open_questions.append(in_question(writer, path, before))
                continue
            dep.meta, dep.hash_info = coming
        elif not dep.exists:
            known = False
            said = f"{path} is missing" + ("" if writer else ": it would fail; bring the file there")
            causes.append(Cause("data", path, said, before, MISSING))
            continue
        else:
            dep.meta, dep.hash_info = dep._get_hash_meta()
        after = dep.hash_info.value
        if lock is not None and after != before:
            causes.append(changed_file(path, writer, before, after))
    as_recorded = lock is not None and not causes
    if lock is not None:
        causes += [cause for out in stage.outs if (cause := output_cause(out, seen.name(out))) is not None]
    earlier = earlier_outputs(stage, as_recorded) if known and causes else None
    in_workspace = as_recorded and all(cause.kind == LOST for cause in causes)  # from where it is put back
    if open_questions and as_recorded:
        verdict = Verdict.DEPENDS
    elif not causes:
        verdict = Verdict.KEEP
    elif earlier and (in_workspace or all(is_whole(out) for out in earlier)):
        verdict = Verdict.RESTORE
        seen.restored |= {out.fs_path: out for out in earlier}
    else:
        verdict = Verdict.RUN
    if in_workspace and not open_questions:
        seen.settled.add(stage.addressing)
    return Reason(stage.addressing, verdict, tuple(causes + open_questions))


def _lock_entry(stage: Any, seen: _Seen) -> dict[str, Any] | None:
    """Return a stage's entry in dvc.lock, which DVC has found readable; it would parse it a second time, and slowly."""
    path = Path(stage.path).with_suffix(".lock")
    if path not in seen.locks:
        document = parse(path.read_text(encoding="utf-8")) if path.exists() else {}
        seen.locks[path] = document.get("stages") or {}
    return seen.locks[path].get(stage.name)


def _with_commits(reasons: list[Reason], root: Path) -> list[Reason]:
    """Add what git knows of the files that changed."""
    files = {
        Path(cause.what): str(cause.before) for reason in reasons for cause in reason.causes if _is_changed_file(cause)
    }
    since = commits_since(files, root)
    return [
        Reason(
            reason.stage, reason.verdict, tuple(_dated(cause, since.get(Path(cause.what))) for cause in reason.causes)
        )
        for reason in reasons
    ]


def _is_changed_file(cause: Cause) -> bool:
    recorded = isinstance(cause.before, str) and not cause.before.endswith(".dir")
    return cause.kind in ("code", "data") and recorded and cause.after != MISSING


def _dated(cause: Cause, since: Since | None) -> Cause:
    if not _is_changed_file(cause) or since is None:
        return cause
    told = [*(["not committed"] if since.uncommitted else []), *since.commits]
    said = f"{cause.said} ({'; '.join(told)})" if told else cause.said
    return Cause(cause.kind, cause.what, said, cause.before, cause.after, since)
