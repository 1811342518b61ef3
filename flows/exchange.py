"""What a stage on another machine is given and gives back: sources are compared, outputs travel by their hashes through DVC's remote."""

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.repository import open_repository
from ledger.errors import ConfigurationError, DataError


@dataclass(frozen=True)
class Item:
    """A file or folder that DVC keeps.

    Attributes
    ----------
    path : str
        Relative to the clone's root.
    hash : str
        The hash's name: ``md5``.
    value : str
        Of a folder it ends in ``.dir``.
    size, files : int or None
        Bytes; how many files a folder has.
    """

    path: str
    hash: str
    value: str
    size: int | None = None
    files: int | None = None


@dataclass(frozen=True)
class Recipe:
    """What a stage is made of, as one clone has it. Two clones in which it is equal give the same outputs.

    Attributes
    ----------
    definition : dict
        Command, folder, parameters and outputs, as dvc.yaml and params.yaml say them.
    sources : dict of str to str or None
        Digests of the dependencies that no stage writes: code, configuration; None for what is missing.
    inputs : tuple of Item
        The dependencies that stages write, or that ``dvc add`` keeps.
    """

    definition: dict[str, Any]
    sources: dict[str, str | None]
    inputs: tuple[Item, ...]


def read_recipe(address: str, inputs: bool = True) -> Recipe:
    """Read a stage's recipe in the clone of the working directory.

    Parameters
    ----------
    address : str
        The stage.
    inputs : bool
        Whether its inputs are wanted, of which this clone may know nothing yet.

    Raises
    ------
    DataError
        If the clone has no such stage, or an output that it reads has no hash yet.
    """
    with _opened() as repo:
        stage = _stage(repo, address)
        root = Path(repo.root_dir)
        sources: dict[str, str | None] = {}
        items: dict[str, Item] = {}
        parameters: dict[str, Any] = {}
        for dep in stage.deps:
            path = os.path.relpath(dep.fs_path, root)
            if dep.hash_name == "params":
                parameters[path] = dep.read_params()
                continue
            kept = _kept(repo, dep.fs_path)
            for out in kept if inputs else ():
                item = _item(out, root)
                items[item.path] = item
            if not kept:
                sources[path] = digest_of(Path(dep.fs_path))
        definition = {
            "cmd": stage.cmd,
            "wdir": os.path.relpath(stage.wdir, root),
            "params": parameters,
            "outs": sorted(os.path.relpath(out.fs_path, root) for out in stage.outs),
        }
        return Recipe(definition, sources, tuple(items[path] for path in sorted(items)))


def difference(theirs: Recipe, ours: Recipe) -> str | None:
    """Say what of a stage is not here as it is at the coordinator, None where all is; the inputs are brought, and not compared.

    Parameters
    ----------
    theirs : Recipe
        The coordinator's.
    ours : Recipe
        This clone's.
    """
    for path in sorted(theirs.sources.keys() | ours.sources.keys()):
        if theirs.sources.get(path) != ours.sources.get(path):
            how = "is missing here" if ours.sources.get(path) is None else "is another than the coordinator's"
            return f"{path} {how}"
    for key, said in theirs.definition.items():
        if ours.definition.get(key) != said:
            where = ", ".join(said) if key == "params" else "dvc.yaml"
            return f"{where}: the stage's {key} differ from the coordinator's"
    return None


def written_by(address: str) -> tuple[Item, ...]:
    """Return a stage's outputs, as dvc.lock says them."""
    with _opened() as repo:
        root = Path(repo.root_dir)
        return tuple(_item(out, root) for out in _stage(repo, address).outs)


def push(items: Iterable[Item]) -> None:
    """Send what DVC's remote does not have yet, from this clone's cache.

    Raises
    ------
    ConfigurationError
        If there is no remote.
    DataError
        If it cannot be reached, or something is neither here nor there.
    """
    with _opened() as repo, _remote_errors():
        for item in items:
            repo.cloud.get_remote(command="push")
            out = _output(repo, item)
            for odb, objects in out.get_used_objs(force=True).items():
                if repo.cloud.push(objects, odb=odb).failed:
                    raise DataError(f"{item.path}: could not be sent to DVC's remote; try `dvc push {item.path}`")


def bring(items: Iterable[Item]) -> None:
    """Bring files and folders from DVC's remote, where they are not in the cache, and put them in their places.

    Raises
    ------
    ConfigurationError
        If there is no remote.
    DataError
        If it cannot be reached, or does not have one of them.
    """
    with _opened() as repo, _remote_errors(), repo.scm_context(quiet=True):
        for item in items:
            out = _output(repo, item)
            if out.exists and not out.workspace_status():
                continue
            if out.changed_cache():
                repo.cloud.get_remote(command="fetch")
                for odb, objects in out.get_used_objs(force=True).items():
                    repo.cloud.pull(objects, odb=odb)
                out.obj = None
            if out.changed_cache():
                raise DataError(
                    f"{item.path} ({item.value}): neither in this clone's cache nor on DVC's remote; `dvc push` where it was made"
                )
            out.checkout(force=True)


def digest_of(path: Path) -> str | None:
    """Return a digest of a file's content, or of a folder's files and their names; None where it is missing."""
    if path.is_file():
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    if not path.is_dir():
        return None
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(path).as_posix()} {digest_of(file)}\n".encode())
    return digest.hexdigest()


def commit_of(folder: Path) -> str:
    """Return the git commit that a clone stands at, in short, for messages."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True)
    return done.stdout.strip() or "no commit"


def _stage(repo: Any, address: str) -> Any:
    for stage in repo.index.stages:
        if stage.addressing == address:
            return stage
    raise DataError(f"dvc.yaml: no stage '{address}' in {repo.root_dir} ({commit_of(Path(repo.root_dir))})")


def _kept(repo: Any, path: str) -> list[Any]:
    """Return the outputs that are, hold or stand in a path."""
    from dvc.exceptions import OutputNotFoundError

    with contextlib.suppress(OutputNotFoundError):
        return list(repo.find_outs_by_path(path, strict=False, recursive=True))
    return []


def _item(out: Any, root: Path) -> Item:
    path = os.path.relpath(out.fs_path, root)
    if not out.hash_info:
        raise DataError(f"{path}: dvc.lock does not say what it is; run the stage that writes it")
    if not out.use_cache or not out.can_push:
        option = "cache" if not out.use_cache else "push"
        raise ConfigurationError(
            f"dvc.yaml: {path} has `{option}: false`, so that DVC's remote cannot carry it to another machine; take that away, or run "
            "with `runner: {kind: threads}`"
        )
    return Item(path, out.hash_name, out.hash_info.value, out.meta.size, out.meta.nfiles)


def _output(repo: Any, item: Item) -> Any:
    """Return the clone's output at a path, as if its content were the item's."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta

    (out,) = repo.find_outs_by_path(str(Path(repo.root_dir) / item.path))
    out.hash_name = item.hash
    out.hash_info = HashInfo(item.hash, item.value)
    out.meta = Meta(isdir=out.hash_info.isdir, size=item.size, nfiles=item.files)
    out.obj, out.files = None, None
    return out


@contextlib.contextmanager
def _opened() -> Iterator[Any]:
    repo = open_repository()
    with contextlib.closing(repo):
        yield repo


@contextlib.contextmanager
def _remote_errors() -> Iterator[None]:
    from dvc.config import NoRemoteError
    from dvc.exceptions import DvcException

    try:
        yield
    except NoRemoteError:
        raise ConfigurationError(
            f"{Path.cwd()}: no DVC remote, through which machines hand each other what stages write; `dvc remote add -d NAME URL`"
        ) from None
    except (DvcException, OSError) as error:
        raise DataError(f"DVC's remote: {' '.join(str(error).split())}") from None
