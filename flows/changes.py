"""Says why a stage would run, or why not, without running anything and without writing to the repository."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from flows.commits import Since, commits_since
from flows.graph import graph_of, targeted, with_needs
from flows.objects import is_whole
from flows.reading import earlier_outputs, open_for_reading

MISSING = "missing"
"""What stands for a value that is not there."""
LOST = "output not in cache"


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
class Cause:
    """One reason.

    Attributes
    ----------
    kind : str
        ``never run``, ``command``, ``code``, ``data``, ``parameter``, ``upstream``, ``output missing``, ``output edited``,
        ``output not in cache``, ``output new``, ``always`` or ``frozen``.
    what : str
        The file, relative to the root; the parameter, as ``fuse.gold`` or ``other.yaml: fuse.gold``; a stage's address; or empty.
    said : str
        The reason, for its reader.
    before, after : object
        As dvc.lock has it and as it is now: a parameter's values, commands, the MD5 of files.
    since : Since or None
        Of a file that git tracks: what happened to it since.
    """

    kind: str
    what: str
    said: str
    before: Any = None
    after: Any = None
    since: Since | None = None


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
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    restored: dict[str, Any] = field(default_factory=dict)
    """Outputs, as DVC's, of stages whose results would be brought back: what those stages' paths will hold."""
    locks: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def name(self, item: Any) -> str:
        """Return a path, relative to the root."""
        return os.path.relpath(item.fs_path, self.root)

    def writer(self, path: str) -> str | None:
        """Return the stage that writes a path, or the folder that it stands in."""
        return next((self.writers[p] for p in (path, *map(str, Path(path).parents)) if p in self.writers), None)


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
        graph, seen = graph_of(repo), _Seen(Path(repo.root_dir))
        plan = with_needs(graph, [address for name in targets for address in targeted(graph, name)])
        stages = {stage.addressing: stage for stage in repo.index.stages}
        reasons = []
        for address in plan:
            reasons.append(reason := _judge(stages[address], seen))
            seen.verdicts[address] = reason.verdict
            seen.writers |= {out.fs_path: address for out in stages[address].outs}
        return _with_commits(reasons, seen.root)


def _judge(stage: Any, seen: _Seen) -> Reason:
    """Judge one stage, those before it having been judged."""
    if stage.frozen:
        return Reason(stage.addressing, Verdict.KEEP, (Cause("frozen", "", "frozen in dvc.yaml: never run"),))
    lock = _lock_entry(stage, seen)
    causes, open_questions = [], []
    if lock is None:
        causes.append(Cause("never run", "", "never run: dvc.lock has no entry of it"))
    elif stage.cmd_changed:
        before, after = lock.get("cmd"), stage.cmd
        causes.append(Cause("command", "", f"command changed: {_shown(before)} → {_shown(after)}", before, after))
    if stage.is_callback or stage.always_changed:
        causes.append(Cause("always", "", "always run: dvc.yaml says so, or it has neither dependencies nor outputs"))
    known = True
    for dep in stage.deps:
        if hasattr(dep, "read_params"):
            causes += _parameter_causes(dep, lock, seen)
            continue
        path, before = seen.name(dep), dep.hash_info.value
        writer = seen.writer(dep.fs_path)
        if writer is not None and seen.verdicts[writer] is not Verdict.KEEP:
            coming = seen.restored.get(dep.fs_path)
            if coming is None:
                known = False
                open_questions.append(Cause("upstream", writer, f"if {path} of {writer} comes out different", before))
                continue
            dep.meta, dep.hash_info = coming.meta, coming.hash_info
        elif not dep.exists:
            known = False
            said = f"{path} is missing" + ("" if writer else ": it would fail; bring the file there")
            causes.append(Cause("data", path, said, before, MISSING))
            continue
        else:
            dep.meta, dep.hash_info = dep._get_hash_meta()
        after = dep.hash_info.value
        if lock is not None and after != before:
            causes.append(_changed_file(path, writer, before, after))
    as_recorded = lock is not None and not causes
    if lock is not None:
        causes += [cause for out in stage.outs if (cause := _output_cause(out, seen)) is not None]
    if not causes:
        verdict = Verdict.DEPENDS if open_questions else Verdict.KEEP
        return Reason(stage.addressing, verdict, tuple(open_questions))
    earlier = earlier_outputs(stage, as_recorded) if known else None
    in_workspace = {cause.kind for cause in causes} == {LOST}  # from where it is put back
    restored = earlier if earlier and (in_workspace or all(is_whole(out) for out in earlier)) else None
    seen.restored |= {out.fs_path: out for out in restored or ()}
    return Reason(stage.addressing, Verdict.RESTORE if restored else Verdict.RUN, tuple(causes + open_questions))


def _changed_file(path: str, writer: str | None, before: str | None, after: str) -> Cause:
    if writer is not None:
        return Cause("upstream", path, f"{path} of {writer} has changed", before, after)
    kind = "code" if path.endswith(".py") else "data"
    if before is None:
        return Cause(kind, path, f"{path} is new among its dependencies", before, after)
    return Cause(kind, path, f"{path} changed", before, after)


def _output_cause(out: Any, seen: _Seen) -> Cause | None:
    """Return what is wrong with an output, or None."""
    path, before = seen.name(out), out.hash_info.value
    if before is None:
        return Cause("output new", path, f"{path} is new among its outputs")
    if not out.exists:
        return Cause("output missing", path, f"{path} is missing", before, MISSING)
    after = out._get_hash_meta()[1].value
    if after != before:
        return Cause("output edited", path, f"{path} is not as the stage left it: edited by hand?", before, after)
    if out.use_cache and not is_whole(out):
        return Cause(LOST, path, f"{path} is not in DVC's cache")
    return None


def _parameter_causes(dep: Any, lock: dict[str, Any] | None, seen: _Seen) -> list[Cause]:
    """Return a cause for each parameter that is not as dvc.lock has it, and leave the present values in the dependency."""
    from dvc.dependency.param import MissingParamsError

    before, path = dep.hash_info.value or {}, seen.name(dep)
    try:
        dep.hash_info = dep.get_hash()
        after = dict(dep.hash_info.value)
    except MissingParamsError:
        after = dep.read_params()
    if lock is None:
        return []
    prefix = "" if path == "params.yaml" else f"{path}: "
    wanted = dep.params or sorted({*before, *after})
    return [
        Cause("parameter", f"{prefix}{name}", f"{prefix}{name}: {_shown(old)} → {_shown(new)}", old, new)
        for key in wanted
        for name, old, new in differences(before.get(key, MISSING), after.get(key, MISSING), key)
    ]


def differences(before: Any, after: Any, name: str) -> list[tuple[str, Any, Any]]:
    """Return the leaves at which two values of a parameter differ.

    Examples
    --------
    >>> differences({"gold": 0.1, "seed": 1}, {"gold": 0.2, "seed": 1}, "fuse")
    [('fuse.gold', 0.1, 0.2)]
    >>> differences([1, 2], [1], "widths")
    [('widths', [1, 2], [1])]
    """
    if isinstance(before, dict) and isinstance(after, dict):
        keys = list(dict.fromkeys([*before, *after]))
        return [
            found
            for key in keys
            for found in differences(before.get(key, MISSING), after.get(key, MISSING), f"{name}.{key}")
        ]
    same = (
        list(before) == list(after) if isinstance(before, list | tuple) and isinstance(after, list | tuple) else False
    )
    return [] if same or before == after else [(name, before, after)]


def _lock_entry(stage: Any, seen: _Seen) -> dict[str, Any] | None:
    """Return a stage's entry in dvc.lock, which DVC has found readable; it would parse it a second time, and slowly."""
    path = Path(stage.path).with_suffix(".lock")
    if path not in seen.locks:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader) if path.exists() else {}
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


def _shown(value: Any) -> str:
    return "\n".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else str(value)
