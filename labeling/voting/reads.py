"""Which columns a row function reads, where its bytecode says so: it does nothing with its row but read columns by name."""

import dis
import inspect
import types
from collections.abc import Sequence
from functools import cache

from snorkel.labeling import LabelingFunction

from labeling.functions.declared import DeclaredFunction

INTROSPECTION = {"locals", "vars", "eval", "exec", "globals", "_getframe", "currentframe", "stack"}
COMPREHENSIONS = {"<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>"}


def is_snorkels_own(function: LabelingFunction) -> bool:
    """Tell whether a function is called as Snorkel calls one: preprocessors, then the function with its resources."""
    kind = type(function)
    return (
        kind.__call__ is LabelingFunction.__call__
        and kind._preprocess_data_point is LabelingFunction._preprocess_data_point
    )


def columns_read(function: LabelingFunction) -> tuple[str, ...] | None:
    """Return the columns that a row function reads, or None where its row goes where that cannot be followed.

    None, too, for one that writes to its row, keeps it, hands it on, or has it preprocessed: such a function needs a row of its own.
    """
    if isinstance(function, DeclaredFunction):
        return (function.field,) if function.backtracks is not None else None
    coded = function._f
    if not isinstance(coded, types.FunctionType) or function._pre or not is_snorkels_own(function):
        return None
    return _columns_of(coded.__code__)


@cache
def _columns_of(code: types.CodeType) -> tuple[str, ...] | None:
    """Return the columns that a code object reads of its first argument; looked up for every batch, read once."""
    if not code.co_argcount or code.co_flags & (
        inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    ):
        return None
    read: set[str] = set()
    return tuple(sorted(read)) if _only_reads(code, code.co_varnames[0], read) else None


def _only_reads(code: types.CodeType, row: str, read: set[str]) -> bool:
    """Collect the columns that a code object reads of its row; False where it does anything else with it."""
    if set(code.co_names) & INTROSPECTION:
        return False
    steps = list(dis.get_instructions(code))
    for at, step in enumerate(steps):
        named = step.argval
        if named != row and not (
            isinstance(named, tuple) and row in named and not step.opname.startswith("LOAD_CONST")
        ):
            continue
        if step.opname in (
            "MAKE_CELL",
            "LOAD_CLOSURE",
            "LOAD_CONST",
            "LOAD_GLOBAL",
            "LOAD_ATTR",
            "LOAD_METHOD",
            "KW_NAMES",
        ):
            continue
        if step.opname not in ("LOAD_FAST", "LOAD_DEREF"):
            return False
        column = _column(steps[at + 1 : at + 3])
        if column is None:
            return False
        read.add(column)
    inner = [
        constant for constant in code.co_consts if isinstance(constant, types.CodeType) and row in constant.co_freevars
    ]
    # A function that is defined inside may outlive the call, and the row with it; a comprehension is used up.
    return all(each.co_name in COMPREHENSIONS and _only_reads(each, row, read) for each in inner)


def _column(following: Sequence[dis.Instruction]) -> str | None:
    """Return the column that is read of a row by the steps that follow its load: ``x.name`` or ``x["name"]``."""
    first = following[0]
    # From 3.12 on, one instruction loads attributes and methods; its lowest bit tells them apart.
    method = first.opname == "LOAD_ATTR" and first.argrepr.endswith(" + NULL|self")
    if first.opname == "LOAD_ATTR" and not method:
        return str(first.argval)
    if first.opname == "LOAD_CONST" and isinstance(first.argval, str) and following[1].opname == "BINARY_SUBSCR":
        return first.argval
    return None
