"""What git keeps of scheduled runs: a branch of their locks and a tag a release, beside what its user has checked out.

Everything is written by git's plumbing, through an index of its own: no file, no index and no branch of the user's moves.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ledger.errors import ConfigurationError, DataError
from ledger.places import Places

NOBODY = {"NAME": "pricecut", "EMAIL": "pricecut@localhost"}
"""Who commits on a machine where git knows no name."""


@dataclass(frozen=True)
class Release:
    """A registered version of an app's model.

    Attributes
    ----------
    app : str
        The artifact's name in DVC's model registry.
    version : str
        ``v0.0.1``.
    commit : str
        The commit that the tag points at, all 40 digits.
    """

    app: str
    version: str
    commit: str

    @property
    def tag(self) -> str:
        """The tag's name, as GTO writes it: ``reviews@v0.0.1``."""
        return f"{self.app}@{self.version}"


def branch_of(prefix: str, app: str) -> str:
    """Return the name of the branch that an app's scheduled runs are committed on: ``releases/reviews``."""
    return f"{prefix}/{app}"


def check_branch(branch: str) -> None:
    """Raise a ConfigurationError where git is missing, or the branch is checked out somewhere, where it must not move."""
    if _try("rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise ConfigurationError(f"{Path.cwd()}: no git repository with a commit; scheduled runs are kept by git")
    if _try("check-ref-format", "--branch", branch) is None:
        raise ConfigurationError(f"params.yaml: schedule.branch: '{branch}' is no name that git takes for a branch")
    listed = _git("worktree", "list", "--porcelain").splitlines()
    if f"branch refs/heads/{branch}" in listed:
        raise ConfigurationError(
            f"git: the branch '{branch}' is checked out; scheduled runs are committed on it, so check out another one"
        )


def tip(branch: str) -> str | None:
    """Return the commit that a branch stands at; None where there is no such branch yet."""
    return _try("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}")


def locked(lock: str, names: Iterable[str]) -> dict[str, Any]:
    """Return what a ``dvc.lock`` says of some stages.

    Parameters
    ----------
    lock : str
        The file's text; nothing for none.
    names : iterable of str
        The stages: ``vote@reviews``.
    """
    stages = (yaml.safe_load(lock) or {}).get("stages") or {}
    return {name: stages[name] for name in sorted(names) if name in stages}


def file_at(commit: str, path: Path) -> str:
    """Return a file's text as a commit holds it; nothing where it does not."""
    return _try("cat-file", "blob", f"{commit}:./{path.as_posix()}") or ""


def snapshot(app: str, files: Iterable[Path]) -> str:
    """Write the tree that a run was made of, and return its name.

    It is HEAD, with what the working tree holds of every tracked file, of the app's folder and of ``files``. Nothing
    else that git does not track gets in: it may be private.
    """
    with tempfile.TemporaryDirectory(prefix="pricecut-") as folder:
        own = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git("read-tree", "HEAD", env=own)
        staged = _git("diff", "--cached", "--name-only", "--relative", "--diff-filter=A", "-z").split("\0")
        wanted = [Places(app).app_folder.as_posix(), *(file.as_posix() for file in files), *staged]
        _git("add", "--update", env=own)
        _git("add", "--", *sorted({name for name in wanted if name and Path(name).exists()}), env=own)
        return _git("write-tree", env=own)


def commit(tree: str, branch: str, message: str) -> str:
    """Commit a tree after a branch's last commit and HEAD, and return the commit; the branch does not move yet."""
    before, head = tip(branch), _git("rev-parse", "HEAD")
    parents = [before] if before else []
    if not before or _try("merge-base", "--is-ancestor", head, before) is None:
        parents.append(head)
    options = [word for parent in parents for word in ("-p", parent)]
    return _git("commit-tree", tree, *options, "-m", message, env=_identity())


def advance(branch: str, to: str, before: str | None) -> None:
    """Move a branch on; raise a DataError if another process has moved it meanwhile, so that neither's commit is lost."""
    _git("update-ref", "-m", "pricecut: a scheduled run", f"refs/heads/{branch}", to, before or "0" * 40)


def versions(app: str) -> list[Release]:
    """Return an app's registered versions, the newest first, as GTO sorts them."""
    from gto.api import show  # a third of a second
    from gto.constants import VersionSort
    from gto.exceptions import ArtifactNotFound

    try:
        rows = show(".", name=app, registered_only=True, sort=VersionSort.SemVer)
    except ArtifactNotFound:
        return []
    return [Release(app, row["version"], row["commit_hexsha"]) for row in rows]


def register(app: str, at: str, message: str) -> Release:
    """Register a commit as an app's next version, by a tag as GTO writes it, and return the release."""
    from gto.api import register as gto_register

    who = _identity()
    made = gto_register(
        ".",
        name=app,
        ref=at,
        message=message,
        author=who.get("GIT_AUTHOR_NAME"),
        author_email=who.get("GIT_AUTHOR_EMAIL"),
    )
    return Release(app, made.version, at)


def fetch(remote: str, branch: str, app: str) -> None:
    """Bring an app's branch and tags from a git remote; what stands there and here must not have parted.

    Raises
    ------
    DataError
        If the remote does not answer, or holds another history of the branch.
    """
    _git("fetch", "--quiet", remote, f"refs/tags/{app}@*:refs/tags/{app}@*")
    if _try("ls-remote", "--exit-code", remote, f"refs/heads/{branch}") is None:
        return
    _git("fetch", "--quiet", remote, f"refs/heads/{branch}:refs/remotes/{remote}/{branch}")
    there, here = _git("rev-parse", f"refs/remotes/{remote}/{branch}"), tip(branch)
    if here is None or _try("merge-base", "--is-ancestor", here, there) is not None:
        _git("update-ref", f"refs/heads/{branch}", there, here or "0" * 40)
    elif _try("merge-base", "--is-ancestor", there, here) is None:
        raise DataError(
            f"git: '{branch}' here and at '{remote}' have parted; run `git branch -f {branch} {remote}/{branch}` to take "
            "what stands there (the next run makes its commit anew), or merge the two"
        )


def push(remote: str, branch: str, app: str) -> bool:
    """Bring a branch, and the versions registered since the remote's last commit of it, to a git remote.

    Returns
    -------
    bool
        Whether there was anything to bring. All of it arrives, or nothing.

    Raises
    ------
    DataError
        If the remote refuses, or does not answer.
    """
    there = _try("rev-parse", "--verify", "--quiet", f"refs/remotes/{remote}/{branch}")
    if tip(branch) in (None, there):
        return False
    fresh = [
        f"refs/tags/{release.tag}"
        for release in versions(app)
        if there is None or _try("merge-base", "--is-ancestor", release.commit, there) is None
    ]
    _git("push", "--quiet", "--atomic", remote, f"refs/heads/{branch}", *fresh)
    return True


def forget(release: Release, remote: str | None) -> None:
    """Remove a version's tag, here and at the git remote."""
    _git("tag", "--delete", release.tag)
    if remote is not None and _try("ls-remote", "--exit-code", remote, f"refs/tags/{release.tag}") is not None:
        _git("push", "--quiet", remote, f":refs/tags/{release.tag}")


def _identity() -> dict[str, str]:
    """Return the variables that name who commits, where git itself knows no one."""
    if _try("var", "GIT_AUTHOR_IDENT") and _try("config", "user.email"):
        return {}
    return {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in NOBODY.items()}


def _run(arguments: tuple[str, ...], env: Mapping[str, str] | None) -> subprocess.CompletedProcess[str]:
    # git asks for no password: a scheduled run has no one to answer.
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"} | dict(env or {})
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        raise ConfigurationError("git is not installed; scheduled runs are kept by git") from None


def _git(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    done = _run(arguments, env)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        raise DataError(f"git {arguments[0]}: {without_secrets(said)}")
    return done.stdout.rstrip("\n")


def _try(*arguments: str) -> str | None:
    """Return what git says, None where it fails."""
    done = _run(arguments, None)
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def without_secrets(text: str) -> str:
    """Return a text with the user and password of every address in it struck out."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)
