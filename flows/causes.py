"""The single reasons for which a stage would run: a file, a parameter, an output that is not as dvc.lock has it."""

from dataclasses import dataclass
from typing import Any

from flows.commits import Since
from flows.objects import is_whole

MISSING = "missing"
"""What stands for a value that is not there."""
LOST = "output not in cache"
IN_QUESTION = "in question"


@dataclass(frozen=True)
class Cause:
    """One reason.

    Attributes
    ----------
    kind : str
        ``never run``, ``command``, ``code``, ``data``, ``parameter``, ``upstream``, ``in question``, ``output missing``, ``output edited``,
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


def in_question(writer: str, path: str, before: str | None) -> Cause:
    """Return what is to be said of a dependency whose writer is going to run: what comes of it is not known."""
    return Cause(IN_QUESTION, writer, f"if {path} of {writer} comes out different", before)


def changed_file(path: str, writer: str | None, before: str | None, after: str) -> Cause:
    """Return what is to be said of a dependency that is not as recorded: the stage that writes it, or code, or data."""
    if writer is not None:
        return Cause("upstream", path, f"{path} of {writer} has changed", before, after)
    kind = "code" if path.endswith(".py") else "data"
    if before is None:
        return Cause(kind, path, f"{path} is new among its dependencies", before, after)
    return Cause(kind, path, f"{path} changed", before, after)


def output_cause(out: Any, path: str) -> Cause | None:
    """Return what is wrong with an output, one of DVC's, or None."""
    before = out.hash_info.value
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


def parameter_causes(dep: Any, path: str) -> list[Cause]:
    """Return a cause for each parameter that is not as dvc.lock has it, and leave the present values in DVC's dependency."""
    from dvc.dependency.param import MissingParamsError

    before = dep.hash_info.value or {}
    try:
        dep.hash_info = dep.get_hash()
        after = dict(dep.hash_info.value)
    except MissingParamsError:
        after = dep.read_params()
    prefix = "" if path == "params.yaml" else f"{path}: "
    wanted = dep.params or sorted({*before, *after})
    return [
        Cause("parameter", f"{prefix}{name}", f"{prefix}{name}: {shown(old)} → {shown(new)}", old, new)
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


def shown(value: Any) -> str:
    """Write a value for its reader; the commands of a list a line each."""
    return "\n".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else str(value)
