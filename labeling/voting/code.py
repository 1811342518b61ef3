"""The fingerprint of a Python function: what its votes can depend on.

Its bytecode (so neither comments, nor formatting, nor a file's name count), its defaults, what it closes over, its resources and
preprocessors, and every global that it names, recursively: a helper's change is a change of all that call it.
"""

import dis
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import logging
import re
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl
import regex
from snorkel.labeling import LabelingFunction
from snorkel.map import BaseMapper

ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range)
WRITTEN = (date, datetime, time, timedelta, Decimal, Fraction, PurePath, np.generic, slice)
"""Types whose repr says all of a value."""

IMPURE_BUILTINS = {
    "open",
    "input",
    "eval",
    "exec",
    "compile",
    "globals",
    "locals",
    "__import__",
    "hash",
    "id",
    "breakpoint",
}
IMPURE_MODULES = {
    *(
        "asyncio",
        "ftplib",
        "glob",
        "http",
        "httpx",
        "io",
        "openai",
        "os",
        "random",
        "requests",
        "secrets",
        "shelve",
        "shutil",
        "socket",
    ),
    *("sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "urllib3", "uuid"),
}
IMPURE_ATTRIBUTES = {"now", "today", "utcnow", "read_text", "read_bytes", "__globals__"}
PURE_SUBMODULES = {"os.path", "posixpath", "ntpath", "urllib.parse"}
DYNAMIC = {"getattr", "vars", "__dict__", "dir", "attrgetter", "methodcaller"}
SKIPPED = {"NOP", "CACHE", "RESUME", "PRECALL", "EXTENDED_ARG"}


class UnknownError(Exception):
    """A function depends on what no fingerprint can tell."""


class Fingerprints:
    """Fingerprints of objects; what is only data, and shared between functions, is read once."""

    def __init__(self) -> None:
        self.data: dict[int, tuple[object, bytes]] = {}
        self.seen: dict[int, int] = {}
        self.held: list[object] = []

    def of(self, value: object) -> str:
        """Return the fingerprint of a function, or of any value.

        Raises
        ------
        UnknownError
            If it holds, or calls, what cannot be told: an open file, a model, the clock.
        """
        self.seen, self.held = {}, []
        return self._of(value).hex()

    def _of(self, value: object) -> bytes:
        known = self._of_data(value)
        if known is not None:
            return known
        if id(value) in self.seen:
            return _join("seen", str(self.seen[id(value)]).encode())
        # Held, so that no other object gets its id.
        self.seen[id(value)] = len(self.seen)
        self.held.append(value)
        return self._of_any(value)

    def _of_data(self, value: object) -> bytes | None:
        """Return the fingerprint of plain data, None for anything else."""
        kind = type(value)
        if kind in ATOMS:
            return _join(kind.__name__, repr(value).encode("utf-8", "surrogatepass"))
        if kind in WRITTEN or isinstance(value, np.generic | PurePath):
            return _join(kind.__qualname__, repr(value).encode())
        if isinstance(value, re.Pattern | regex.Pattern):
            return _join("pattern", repr((kind.__module__, value.pattern, value.flags)).encode())
        if id(value) in self.data:
            return self.data[id(value)][1]
        written = self._of_container(value)
        if written is not None:
            self.data[id(value)] = (value, written)
        return written

    def _of_container(self, value: object) -> bytes | None:
        parts: Iterable[bytes | None]
        if type(value) in (list, tuple):
            parts = [self._of_data(each) for each in value]  # type: ignore[attr-defined]
        elif type(value) in (set, frozenset):
            each_of = [self._of_data(each) for each in value]  # type: ignore[attr-defined]
            parts = [None] if None in each_of else sorted(part for part in each_of if part is not None)
        elif type(value) is dict:
            parts = [self._of_data(each) for pair in value.items() for each in pair]
        elif isinstance(value, np.ndarray) and value.dtype != object:
            parts = [repr((value.dtype.str, value.shape)).encode(), np.ascontiguousarray(value).tobytes()]
        elif isinstance(value, pl.Series | pl.DataFrame):
            table = value if isinstance(value, pl.DataFrame) else value.to_frame()
            if any(dtype == pl.Object for dtype in table.dtypes):
                return None
            parts = [
                repr(table.schema).encode(),
                *(table[name].hash(20).to_numpy().tobytes() for name in table.columns),
            ]
        else:
            return None
        gathered = [part for part in parts if part is not None]
        return _join(type(value).__name__, *gathered) if len(gathered) == len(list(parts)) else None

    def _of_any(self, value: Any) -> bytes:
        if isinstance(value, types.ModuleType):
            return self._of_module(value, None)
        if isinstance(value, types.FunctionType):
            return self._of_python(value)
        if isinstance(value, functools.partial):
            return _join("partial", self._of(value.func), self._of(value.args), self._of(value.keywords))
        if isinstance(value, types.MethodType):
            return _join("method", self._of(value.__func__), self._of(value.__self__))
        if isinstance(value, staticmethod | classmethod):
            return _join("static", self._of(value.__func__))
        if isinstance(value, property):
            return _join("property", *(self._of(part) for part in (value.fget, value.fset, value.fdel)))
        if isinstance(value, functools._lru_cache_wrapper):
            return _join("cached", self._of(value.__wrapped__))
        if isinstance(value, types.BuiltinFunctionType):
            return self._of_builtin(value)
        if isinstance(value, type):
            return self._of_class(value)
        if isinstance(value, Enum):
            return _join("member", self._of(type(value)), value.name.encode())
        if isinstance(value, logging.Logger):
            return b"logger"
        if isinstance(value, types.MethodDescriptorType | types.WrapperDescriptorType | np.ufunc):
            return _join("builtin", repr(value).encode())
        if isinstance(value, list | tuple | deque):
            return _join(type(value).__name__, *self._kind(value), *(self._of(each) for each in value))
        if isinstance(value, set | frozenset):
            return _join(type(value).__name__, *self._kind(value), *sorted(self._of(each) for each in value))
        if isinstance(value, dict | types.MappingProxyType):
            pairs = [self._of(each) for pair in value.items() for each in pair]
            return _join(type(value).__name__, *self._kind(value), *pairs)
        return self._of_instance(value)

    def _kind(self, value: object) -> list[bytes]:
        """Return what a container's own class adds to its items."""
        plain = (list, tuple, deque, set, frozenset, dict, types.MappingProxyType, Counter, OrderedDict)
        if type(value) in plain:
            return []
        if isinstance(value, defaultdict) and type(value) is defaultdict:
            return [self._of(value.default_factory)]
        return [self._of(type(value)), *(self._of(v) for v in getattr(value, "__dict__", {}).values())]

    def _of_instance(self, value: Any) -> bytes:
        """Return the fingerprint of an object of a class that someone wrote for their functions, or of Snorkel's."""
        if isinstance(value, LabelingFunction | BaseMapper):
            unseen = ("_cache", "name", "owner", "examples", "labels", "numbers")
            held = {name: each for name, each in vars(value).items() if name not in unseen}
            return _join("snorkel", self._of(type(value)), *(self._of(each) for each in _flat(held)))
        where = _origin(type(value).__module__)
        if where != "own":
            raise UnknownError(
                f"it uses a {type(value).__module__}.{type(value).__qualname__}, whose state is not known"
            )
        held = dict(getattr(value, "__dict__", {}))
        for kind in type(value).__mro__:
            for slot in _slots(kind):
                if hasattr(value, slot):
                    held[slot] = getattr(value, slot)
        return _join("instance", self._of(type(value)), *(self._of(each) for each in _flat(held)))

    def _of_class(self, kind: type) -> bytes:
        where = _origin(kind.__module__)
        if where != "own":
            return _join("class", f"{kind.__module__}.{kind.__qualname__} {where}".encode())
        unseen = {
            "__dict__",
            "__weakref__",
            "__doc__",
            "__module__",
            "__qualname__",
            "__annotations__",
            "__firstlineno__",
        }
        unseen |= {"__dataclass_fields__", "__dataclass_params__", "__static_attributes__", "_abc_impl"}
        parts = [self._of(base) for base in kind.__bases__]
        for name, value in sorted(vars(kind).items()):
            if name not in unseen and not isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
                parts += [name.encode(), self._of(value)]
        return _join("class", *parts)

    def _of_builtin(self, value: Any) -> bytes:
        """Return the fingerprint of a function written in C, or of such a method with the object it is bound to."""
        bound = value.__self__
        name = f"{value.__module__}.{value.__qualname__}"
        if bound is None or isinstance(bound, types.ModuleType):
            self._refuse_impure(value.__module__ or "", value.__name__)
            return _join("builtin", name.encode())
        return _join("builtin", name.encode(), self._of(bound))

    def _of_module(self, module: types.ModuleType, names: set[str] | None) -> bytes:
        """Return the fingerprint of a module: of one's own, only of what is named."""
        self._refuse_impure(module.__name__, "")
        where = _origin(module.__name__)
        if where != "own":
            return _join("module", f"{module.__name__} {where}".encode())
        used = {n: v for n, v in vars(module).items() if (names is None or n in names) and not n.startswith("__")}
        parts = []
        for name, value in sorted(used.items()):
            nested = isinstance(value, types.ModuleType)
            parts += [name.encode(), self._of_module(value, names) if nested else self._of(value)]
        return _join("module", *parts)

    def _of_python(self, function: types.FunctionType) -> bytes:
        where = _origin(function.__module__)
        self._refuse_impure(function.__module__ or "", function.__name__)
        if where != "own" and "<locals>" not in function.__qualname__ and function.__name__ != "<lambda>":
            return _join("function", f"{function.__module__}.{function.__qualname__} {where}".encode())
        parts = [_code(function.__code__)]
        parts += [self._of(function.__defaults__), self._of(function.__kwdefaults__)]
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                parts += [name.encode(), self._of(cell.cell_contents)]
            except ValueError:
                parts += [name.encode(), b"unset"]
        parts += [self._of(each) for each in _flat(vars(function))]
        code_names = _names(function.__code__)
        if code_names.stores:
            raise UnknownError(f"it changes '{sorted(code_names.stores)[0]}', so a vote depends on the rows before")
        impure = code_names.all & IMPURE_ATTRIBUTES
        if impure:
            raise UnknownError(f"it uses '{sorted(impure)[0]}', whose answer may differ from run to run")
        named = None if code_names.all & DYNAMIC else code_names.all | code_names.strings
        for name in sorted(code_names.globals):
            parts += [name.encode(), self._of_global(function, name, named)]
        for name in sorted(code_names.imports):
            parts += [name.encode(), self._of_import(name, named)]
        return _join("code", *parts)

    def _of_global(self, function: types.FunctionType, name: str, named: set[str] | None) -> bytes:
        if name in function.__globals__:
            value = function.__globals__[name]
            return self._of_module(value, named) if isinstance(value, types.ModuleType) else self._of(value)
        if name in IMPURE_BUILTINS:
            raise UnknownError(f"it uses '{name}', whose answer may differ from run to run")
        return b"builtin"

    def _of_import(self, name: str, named: set[str] | None) -> bytes:
        try:
            return self._of_module(importlib.import_module(name), named)
        except ImportError:
            raise UnknownError(f"it imports '{name}', which cannot be found") from None

    def _refuse_impure(self, module: str, name: str) -> None:
        if module.split(".")[0] in IMPURE_MODULES and module not in PURE_SUBMODULES:
            shown = f"{module}.{name}" if name else module
            raise UnknownError(f"it uses '{shown}', whose answer may differ from run to run")


class _Names:
    """What a code object, and the code in it, names."""

    def __init__(self) -> None:
        self.globals: set[str] = set()
        self.imports: set[str] = set()
        self.stores: set[str] = set()
        self.all: set[str] = set()
        self.strings: set[str] = set()


def _names(code: types.CodeType) -> _Names:
    found = _Names()
    outer = set(code.co_freevars)
    pending = [code]
    while pending:
        one = pending.pop()
        found.all |= set(one.co_names)
        for constant in one.co_consts:
            if isinstance(constant, types.CodeType):
                pending.append(constant)
            elif isinstance(constant, str):
                found.strings.add(constant)
        for step in dis.get_instructions(one):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                found.globals.add(str(step.argval))
            elif step.opname == "IMPORT_NAME":
                found.imports.add(str(step.argval))
            elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") or (
                step.opname in ("STORE_DEREF", "DELETE_DEREF")
                and step.argval in outer
                and step.argval not in one.co_cellvars
            ):
                found.stores.add(str(step.argval))
    return found


def _code(code: types.CodeType) -> bytes:
    """Return the fingerprint of a code object: its instructions, wherever they stand in a file and however that is laid out."""
    steps = [step for step in dis.get_instructions(code) if step.opname not in SKIPPED]
    offsets = [step.offset for step in steps]
    parts: list[bytes] = []
    for step in steps:
        argument = step.argval
        if isinstance(argument, types.CodeType):
            written = _code(argument)
        elif step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            written = str(sum(offset < argument for offset in offsets)).encode()
        elif step.opname == "LOAD_CONST":
            written = _constant(argument)
        else:
            written = repr(argument).encode()
        parts.append(_join(step.opname, written))
    shape = (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags,
        code.co_varnames[: code.co_argcount],
    )
    # A docstring is a constant that no instruction loads: it does not count.
    return _join("code", repr(shape).encode(), code.co_exceptiontable, *parts)


def _constant(value: object) -> bytes:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, tuple):
        return _join("tuple", *(_constant(each) for each in value))
    if isinstance(value, frozenset):
        return _join("frozenset", *sorted(_constant(each) for each in value))
    return _join(type(value).__name__, repr(value).encode("utf-8", "surrogatepass"))


def _flat(held: Mapping[str, object]) -> list[object]:
    return [each for pair in sorted(held.items()) for each in pair]


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


@functools.cache
def _origin(module_name: str | None) -> str:
    """Return ``own`` for code that a data team wrote, else the version of what it belongs to."""
    top = (module_name or "").split(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return "stdlib"
    module = sys.modules.get(module_name or "")
    path = inspect.getattr_static(module, "__file__", None) or "" if module else ""
    if top == "labeling" and "/apps/" not in path and not (module_name or "").startswith("labeling.apps."):
        return "engine"
    if "site-packages" not in path and "dist-packages" not in path:
        return "own"
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(top), "__version__", ""))


def _join(kind: str, *parts: bytes) -> bytes:
    digest = hashlib.blake2b(kind.encode(), digest_size=32)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
