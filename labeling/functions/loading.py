"""Loads an app's labeling functions, and says which line of the file is at fault."""

import importlib.util
import re
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from snorkel.labeling import LabelingFunction

from labeling.functions.batch import BatchFunction
from labeling.functions.declared import DeclaredFunction
from labeling.functions.logic import LogicFunction
from labeling.functions.stated import number_labels, owner_of
from ledger.errors import FunctionError

FUNCTIONS_FILE = "functions.py"


def load_functions(app_folder: Path, labels: Sequence[str]) -> list[LabelingFunction]:
    """Load an app's labeling functions: the list ``FUNCTIONS`` of its ``functions.py``; its ``OWNER`` answers for those without one.

    Raises
    ------
    FunctionError
        If the file is missing, does not run, or its list is not one of functions with different names;
        the message names file and line.
    """
    path = app_folder / FUNCTIONS_FILE
    if not path.exists():
        raise FunctionError(f"{path}: not found; expected the app's labeling functions there, in a list FUNCTIONS")
    module = _run(path)
    functions = getattr(module, "FUNCTIONS", None)
    if not isinstance(functions, list | tuple) or not functions:
        raise FunctionError(f"{path}: expected a list FUNCTIONS of labeling functions, got {functions!r}")
    owner = getattr(module, "OWNER", None)
    seen: set[str] = set()
    for position, function in enumerate(functions, start=1):
        if not isinstance(function, LabelingFunction):
            raise FunctionError(
                f"{path}: FUNCTIONS[{position - 1}] is {function!r}; expected keyword(...), regex(...), expression(...), "
                "column(...) or a function under @labeling_function()"
            )
        if function.name in seen:
            raise FunctionError(f"{path}: two functions are called '{function.name}'; give each a name of its own")
        later = [name for name in getattr(function, "reads_votes", ()) if name not in seen]
        if later:
            raise FunctionError(
                f"{path}:{line_of_function(path, function.name)}: function '{function.name}': reads the votes of '{later[0]}', "
                "which does not stand before it in FUNCTIONS; add it, or move it up"
            )
        seen.add(function.name)
        function.owner = owner_of(function, owner)
        try:
            if isinstance(function, DeclaredFunction | BatchFunction | LogicFunction):
                function.bind(labels)
            else:
                number_labels(function, labels)
        except FunctionError as error:
            raise FunctionError(f"{path}:{line_of_function(path, function.name)}: {error}") from None
    return list(functions)


def line_of_function(path: Path, name: str) -> int:
    """Find the line of a functions file where a function's name first stands, from 1."""
    lines = path.read_text(encoding="utf-8").splitlines()
    named = re.compile(rf"""def {re.escape(name)}\b|["']{re.escape(name)}["']""")
    return next((number for number, line in enumerate(lines, start=1) if named.search(line)), 1)


class _Source(SourceFileLoader):
    """Compiles the file as it stands. Bytecode is told by length and second of change: an edit soon after a run would be missed."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _run(path: Path) -> ModuleType:
    name = f"labeling.apps.{path.parent.name}.functions"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, str(path)))
    if spec is None or spec.loader is None:
        raise FunctionError(f"{path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except FunctionError as error:
        raise FunctionError(f"{path}:{_line_in(path, error)}: {error}") from None
    except Exception as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line_in(path, error)
        raise FunctionError(f"{path}:{line}: does not run: {type(error).__name__}: {error}") from None
    return module


def _line_in(path: Path, error: BaseException) -> int:
    """Find the last line of the file in an error's traceback."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).resolve() == path.resolve()
    ]
    return frames[-1].lineno or 1 if frames else 1
