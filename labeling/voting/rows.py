"""Row functions over a batch of rows: a function at a time, so that a call costs little more than the function itself."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, cached_property, partial
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import polars as pl
from snorkel.labeling import LabelingFunction
from snorkel.map import BaseMapper

from labeling.functions.declared import DeclaredFunction
from labeling.functions.stated import labels_of
from labeling.functions.vocabulary import ABSTAIN
from labeling.voting.reads import columns_read, is_snorkels_own
from labeling.voting.votes import Votes, as_number
from ledger.errors import FunctionError

BATCH_ROWS = 4096

_columns_of = SimpleNamespace.__dict__["__dict__"].__get__


class Row(SimpleNamespace):
    """A row as Snorkel's functions read it: ``x.text`` or ``x["text"]``.

    All functions are handed the same row. One that writes to it, or reaches for what can be written to (a list, ``vars(x)``),
    touches it, and the next function gets a fresh one: isolation costs nothing where nobody writes.
    """

    _nested: ClassVar[tuple[str, ...]] = ()
    _touched: ClassVar[list["Row"] | None] = None

    def __getitem__(self, name: str) -> Any:
        """Return a column's value."""
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a column's value, for this function alone."""
        setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a column's value, for this function alone."""
        _touch(self)[name] = value

    def __delattr__(self, name: str) -> None:
        """Remove a column, for this function alone."""
        if name not in _columns_of(self):
            raise AttributeError(name)
        del _touch(self)[name]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle (and copy) by the columns: the class of a batch's rows is found again where it is read."""
        nested = type(self)._nested
        return _rebuild, (nested, _touch(self) if nested else _columns_of(self))

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """The columns; whoever asks may write to them."""
        return _touch(self)


def _touch(row: Row) -> dict[str, Any]:
    touched = type(row)._touched
    if touched is not None and (not touched or touched[-1] is not row):
        touched.append(row)
    return _columns_of(row)


def _rebuild(nested: tuple[str, ...], columns: dict[str, Any]) -> Row:
    return _copy_class(nested)(**columns)


@cache
def _copy_class(nested: tuple[str, ...]) -> type[Row]:
    return row_class(nested, None)


def row_class(nested: tuple[str, ...], touched: list[Row] | None) -> type[Row]:
    """Return a class of rows.

    Parameters
    ----------
    nested : tuple of str
        Columns of lists, structs or objects: to read one is to touch the row.
    touched : list of Row or None
        Where a row that is touched is noted.
    """

    def column(name: str) -> property:
        def read(row: Row) -> Any:
            try:
                return _touch(row)[name]
            except KeyError:
                raise AttributeError(name) from None

        return property(read)

    return type("Row", (Row,), {"_nested": nested, "_touched": touched, **{name: column(name) for name in nested}})


Call = Callable[[Row], object]


class Rows:
    """A batch's rows, made once for all functions; a row that a function touched is made anew for the next.

    Parameters
    ----------
    table : pl.DataFrame
        The batch.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table
        nested = tuple(name for name, dtype in table.schema.items() if dtype.is_nested() or dtype == pl.Object)
        self.nested = frozenset(nested)
        self.touched: list[Row] = []
        self.make = row_class(nested, self.touched)
        self.ids = table["row_id"].to_list() if "row_id" in table.columns else list(range(table.height))
        self.columns: dict[str, list[object]] = {}
        self.position: dict[int, int] = {}
        self.prepared: dict[tuple[int, ...], dict[int, Any]] = {}

    @cached_property
    def rows(self) -> list[Row]:
        """The rows, for functions that need rows of their own."""
        return [self.make(**record) for record in self.table.iter_rows(named=True)]

    def values(self, name: str) -> list[object]:
        """Return a column's values."""
        if name not in self.columns:
            self.columns[name] = self.table[name].to_list()
        return self.columns[name]

    def restore(self) -> None:
        """Make the touched rows anew."""
        for row in self.touched:
            i = self._positions().pop(id(row), None)
            if i is not None:
                self.rows[i] = self.make(**self.table.row(i, named=True))
                self.position[id(self.rows[i])] = i
        self.touched.clear()

    def _positions(self) -> dict[int, int]:
        if not self.position:
            self.position = {id(row): i for i, row in enumerate(self.rows)}
        return self.position

    def call(self, function: LabelingFunction) -> Call:
        """Return how a function is called on a row of this batch; memoized preprocessors run once a row for all that share them."""
        if not is_snorkels_own(function):
            return function
        plain: Call = partial(function._f, **function._resources) if function._resources else function._f
        if not function._pre:
            return plain
        if not all(isinstance(step, BaseMapper) and step.memoize for step in function._pre):
            return lambda row: plain(function._preprocess_data_point(row))
        known = self.prepared.setdefault(tuple(map(id, function._pre)), {})
        position = self._positions()

        def on_prepared(row: Row) -> object:
            i = position[id(row)]
            if i not in known:
                known[i] = function._preprocess_data_point(row)
            return plain(_copy(known[i]))

        return on_prepared


def _copy(prepared: Any) -> Any:
    """Copy what preprocessors made of a row, so that a function that writes to it changes no other's vote."""
    if not isinstance(prepared, Row):
        return prepared
    columns = dict(_columns_of(prepared))
    for name in type(prepared)._nested:
        if name in columns:
            columns[name] = deepcopy(columns[name])
    return type(prepared)(**columns)


def vote_on_rows(
    functions: Sequence[LabelingFunction], table: pl.DataFrame, labels: Sequence[str], row_seconds: float
) -> list[Votes]:
    """Vote with row functions on a batch.

    Parameters
    ----------
    functions : sequence of LabelingFunction
        Snorkel's, and declared ones whose pattern Rust's engine cannot express.
    table : pl.DataFrame
        The batch.
    labels : sequence of str
        The app's.
    row_seconds : float
        How long such a pattern may take on one row.

    Raises
    ------
    FunctionError
        For the first row, and on it the first function, that returned what is no label.
    """
    with _no_collection():
        return _vote_on_rows(functions, Rows(table), labels, row_seconds)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let Python not look for unreachable cycles among a batch's rows, of which there are none: a twentieth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _vote_on_rows(
    functions: Sequence[LabelingFunction], batch: Rows, labels: Sequence[str], row_seconds: float
) -> list[Votes]:
    table = batch.table
    voted, faults = [], []
    for order, function in enumerate(functions):
        call = function.timed(row_seconds) if isinstance(function, DeclaredFunction) else batch.call(function)
        reads = columns_read(function)
        if reads is None or not batch.nested.isdisjoint(reads):
            answers, errors = _ask(call, enumerate(batch.rows))
            batch.restore()
        else:
            # It does nothing but read these columns: one row serves it for all, and no list of rows need be made.
            answers, errors = _ask(call, _one_row(batch, [name for name in reads if name in table.columns]))
        stated = labels_of(function, labels)
        numbers = {label: number for number, label in enumerate(labels) if label in stated}
        known = set(numbers.values())
        column = np.full(table.height, ABSTAIN, dtype=np.int8)
        for i, answer in answers:
            if type(answer) is int and answer in known:
                column[i] = answer
            elif type(answer) is str and answer in numbers:
                column[i] = numbers[answer]
            else:
                try:
                    column[i] = as_number(answer, function, batch.ids[i], labels)
                except FunctionError as error:
                    faults.append((i, order, error))
                    break
        first = f"row '{batch.ids[errors[0][0]]}': {errors[0][1]}" if errors else None
        voted.append(Votes(column, len(errors), first))
    if faults:
        raise min(faults, key=lambda fault: fault[:2])[2]
    for step in {id(step): step for function in functions for step in getattr(function, "_pre", ())}.values():
        # Memoized for the functions of one batch; kept for all rows, it would outgrow the memory.
        if isinstance(step, BaseMapper):
            step.reset_cache()
    return voted


def _one_row(batch: Rows, names: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Yield one row, again and again, with the next row's values of some columns."""
    row = Row()
    columns = _columns_of(row)
    if len(names) == 1:
        (name,) = names
        for i, columns[name] in enumerate(batch.values(name)):  # noqa: B020
            yield i, row
        return
    for i, values in enumerate(zip(*map(batch.values, names), strict=True) if names else [()] * batch.table.height):
        columns.update(zip(names, values, strict=True))
        yield i, row


def _ask(call: Call, numbered: Iterator[tuple[int, Row]]) -> tuple[list[tuple[int, object]], list[tuple[int, str]]]:
    """Call on every row; return what was answered where it did not abstain, and what was raised where it raised."""
    answers: list[tuple[int, object]] = []
    errors: list[tuple[int, str]] = []
    i = 0
    while True:
        try:
            for i, row in numbered:
                answer = call(row)
                # A small integer is one object in CPython; what equals -1 without being it is looked at later, with care.
                if answer is not None and answer is not ABSTAIN:
                    answers.append((i, answer))
            return answers, errors
        except FunctionError:  # a pattern that is given up
            raise
        except Exception as error:  # any fault of a data team's code: it abstains here, and is counted
            errors.append((i, f"{type(error).__name__}: {error}"))


def batches(rows: pl.DataFrame | pl.LazyFrame, first: int, size: int) -> Iterator[pl.DataFrame]:
    """Cut a table in batches of a size, in its order; the first one may be smaller, so that the rest is planned by it."""
    parts = iter([rows]) if isinstance(rows, pl.DataFrame) else rows.collect_batches(chunk_size=4 * size)
    rest, wanted = pl.DataFrame(), first
    for part in parts:
        rest = pl.concat([rest, part]) if rest.height else part
        while rest.height >= wanted:
            yield rest.head(wanted)
            rest, wanted = rest.slice(wanted), size
    if rest.height:
        yield rest
