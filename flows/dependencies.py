"""Derives each stage's code dependencies in dvc.yaml from what its module imports, and the benchmarks' pipeline from the main one.

``make dag`` writes both files; ``--check`` says what is stale, and a test does too. Listed by hand, such lists go stale.
"""

import ast
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grimp
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

MAIN, BENCHMARKS = Path("dvc.yaml"), Path("benchmarks/dvc.yaml")
FLOORS = ("ledger", "labeling", "training")
FUNCTIONS = "functions.py"
HEADER = """\
# pricecut over public data: the same stages, over the apps of benchmarks/params.yaml.
# Written by `make dag` from ../dvc.yaml; edit that. Run with: make data && .venv/bin/dvc repro benchmarks/dvc.yaml
"""


def derive_main(text: str, root: Path) -> str:
    """Return dvc.yaml with every stage's code dependencies as its module's imports are.

    Parameters
    ----------
    text : str
        dvc.yaml as it stands; comments and all else are kept.
    root : Path
        The project's root.
    """
    document = _yaml().load(text)
    graph = grimp.build_graph(*FLOORS, cache_dir=None, exclude_type_checking_imports=True)
    for stage in document["stages"].values():
        body = stage.get("do", stage)
        own = [dep for dep in body["deps"] if not _is_code(dep)]
        code = code_of(_entry(body["cmd"], root), graph, root)
        if any(str(dep).endswith(FUNCTIONS) for dep in own):
            for functions in sorted(root.glob(f"labeling/apps/*/{FUNCTIONS}")):
                code |= code_of(functions, graph, root) - {functions.relative_to(root).as_posix()}
        body["deps"] = CommentedSeq([*sorted(code), *own])
    return _dump(document)


def derive_benchmarks(main: str) -> str:
    """Return the benchmarks' pipeline: the main one's stages over apps, run from the project's root."""
    document = _yaml().load(main)
    stages = CommentedMap()
    for name, stage in document["stages"].items():
        if "foreach" in stage:
            stage["do"].insert(1, "wdir", "..")
            stages[name] = stage
    plain = CommentedMap({"vars": document["vars"], "stages": stages})
    return HEADER + _dump(plain)


def code_of(entry: Path, graph: grimp.ImportGraph, root: Path) -> set[str]:
    """Return the project's files that running or importing a file really reads, itself included.

    Parameters
    ----------
    entry : Path
        A Python file of the project.
    graph : grimp.ImportGraph
        The imports of the floors.
    root : Path
        The project's root.

    Returns
    -------
    set of str
        Paths relative to the root. A package's ``__init__.py`` is among them where a module of it is.
    """
    modules: set[str] = set()
    for module in imported_by(entry, graph.modules):
        modules |= {module} | graph.find_upstream_modules(module)
    own = entry.relative_to(root).as_posix()
    packages = {Path(own).parent / "__init__.py"} | {
        Path(*module.split(".")[:-1]) / "__init__.py" for module in modules
    }
    ancestors = {
        parent / "__init__.py" for package in packages for parent in package.parent.parents if parent != Path()
    }
    files = {own} | {_file_of(module, root) for module in modules}
    return files | {path.as_posix() for path in packages | ancestors if (root / path).is_file()}


def imported_by(file: Path, modules: Iterable[str]) -> Iterator[str]:
    """Yield the modules of the floors that a file imports, wherever in it the import stands."""
    known = set(modules)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name in known)


def _entry(command: str, root: Path) -> Path:
    words = command.split()
    return root / Path(*words[words.index("-m") + 1].split(".")).with_suffix(".py")


def _file_of(module: str, root: Path) -> str:
    path = Path(*module.split("."))
    package = path / "__init__.py"
    return (package if (root / package).is_file() else path.with_suffix(".py")).as_posix()


def _is_code(dependency: Any) -> bool:
    """Whether a dependency is derived here: a Python file that no app's folder parametrizes."""
    return str(dependency).endswith(".py") and "${" not in str(dependency)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 140
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _dump(document: Any) -> str:
    stream = io.StringIO()
    _yaml().dump(document, stream)
    return stream.getvalue()


def stale(root: Path) -> dict[Path, str]:
    """Return the pipeline files that are not as derived, with what they should hold."""
    main = derive_main((root / MAIN).read_text(encoding="utf-8"), root)
    derived = {MAIN: main, BENCHMARKS: derive_benchmarks(main)}
    return {
        path: text
        for path, text in derived.items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    }


def main() -> None:
    """Write what is stale, or with ``--check`` say so and exit with 2."""
    found = stale(Path())
    if "--check" in sys.argv:
        for path in found:
            sys.stderr.write(f"{path}: its code dependencies are not what the stages import; run `make dag`\n")
        sys.exit(2 if found else 0)
    for path, text in found.items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
