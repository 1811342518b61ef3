"""Votes by a table, or a graph, of terms: thousands of them in one pass over the texts (Aho & Corasick 1975)."""

import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from labeling.functions.declared import DeclaredFunction
from labeling.functions.stated import Examples
from ledger.errors import FunctionError
from ledger.parameters import line_of, read_yaml

KNOWLEDGE_FOLDER = "knowledge"
"""Beside functions.py; `dvc.yaml` names the folder, so that an edit of any table in it runs `vote` again."""

EDGE = "\x1f"
"""Stands at both ends of a text and around every character that is no part of a word, in texts and terms alike."""

Rule = Literal["most", "longest", "heaviest"]


@dataclass(frozen=True)
class Entry:
    """One line of a table: a term, what it stands for (a label, or a term above it), its weight, and where it stands."""

    term: str
    is_a: str
    weight: float
    place: str


class KnowledgeFunction(DeclaredFunction):
    """A declared function that votes by a table of terms.

    Parameters
    ----------
    name : str
        Unique in its app.
    entries : sequence of Entry
        The table.
    win, field, owner, examples
        As in ``knowledge``.
    """

    def __init__(
        self,
        name: str,
        entries: Sequence[Entry],
        win: Rule,
        field: str,
        *,
        owner: str | None = None,
        examples: Examples | None = None,
    ) -> None:
        tops = label_of_each(name, entries)
        self.entries = {entry.term: entry for entry in entries}
        terms = pl.DataFrame(
            {
                "term": [entry.term for entry in entries],
                "label": [tops[entry.term] for entry in entries],
                "weight": [entry.weight for entry in entries],
            }
        ).with_columns(pattern=_edged(pl.col("term")), length=pl.col("term").str.len_chars())
        same = terms.group_by("pattern", maintain_order=True).agg("term").filter(pl.col("term").list.len() > 1)
        if same.height:
            first, second, *_ = same["term"][0]
            raise FunctionError(
                f"function '{name}': {self.entries[second].place}: the term '{second}' stands already "
                f"({self.entries[first].place}); remove one"
            )
        vote = pl.col(field).map_batches(
            lambda texts: vote_by_terms(texts, terms, win), return_dtype=pl.String, is_elementwise=True
        )
        told = [(entry.term, entry.is_a, entry.weight) for entry in entries]
        source = f"knowledge {win} {field} {json.dumps(told, ensure_ascii=False)}"
        labels = tuple(dict.fromkeys(tops.values()))
        super().__init__(name, "knowledge", labels, vote, source, owner=owner, examples=examples, field=field)
        self.places = {tops[entry.term]: entry.place for entry in reversed(entries) if entry.is_a == tops[entry.term]}

    def bind(self, app_labels: Sequence[str]) -> "KnowledgeFunction":
        """Learn the number of each label; raise a FunctionError, naming the table's line, for what is no label."""
        for label in self.labels:
            if label not in app_labels:
                raise FunctionError(
                    f"function '{self.name}': {self.places[label]}: '{label}' is neither a term of the table nor one of the app's "
                    f"labels: {', '.join(app_labels)}"
                )
        super().bind(app_labels)
        return self


def knowledge(
    name: str,
    terms: str | Path | Mapping[str, str],
    win: Rule = "most",
    field: str = "text",
    *,
    owner: str | None = None,
    examples: Examples | None = None,
) -> KnowledgeFunction:
    """Vote by the terms that stand in the text, whole and in any case, as ``keyword`` matches them.

    Of terms that overlap, the one that begins first counts, and of two that begin together the longer: ``no refund`` hides
    the ``refund`` in it. A term counts once however often it stands in a text.

    Parameters
    ----------
    name : str
        The function's name.
    terms : str, Path or mapping of str to str
        A table in the folder ``knowledge`` beside functions.py (CSV with a header, JSON lines, or a YAML mapping), or a mapping
        written out. A line has ``term``, and ``label`` or ``is_a``, and may have ``weight`` (1 where it has none).
        ``is_a`` names a label or another term, whose label the term inherits: a graph.
    win : str
        Where terms of several labels stand in one text: the label with the ``most`` of them, that of the ``longest`` term, or
        with the ``heaviest`` weight in sum. It abstains on a tie.
    field : str
        The column to look in.
    owner, examples
        Who answers for the function; texts with the vote expected on each.

    Raises
    ------
    FunctionError
        If the table is missing, empty or misspelt, a term stands twice, or terms stand above each other in a circle.

    Examples
    --------
    >>> import polars as pl
    >>> words = knowledge("words", {"refund": "billing", "credit note": "billing", "courier": "delivery"})
    >>> rows = pl.DataFrame({"text": ["A REFUND or a credit  note, by courier", "refund the courier", "refunded"]})
    >>> rows.select(words.expression)["text"].to_list()
    ['billing', None, None]
    """
    if isinstance(terms, Mapping):
        entries = [Entry(term, is_a, 1.0, f"entry {n}") for n, (term, is_a) in enumerate(terms.items(), start=1)]
    else:
        beside = Path(sys._getframe(1).f_globals.get("__file__", "functions.py")).parent / KNOWLEDGE_FOLDER
        path = beside / terms
        if not path.resolve().is_relative_to(beside.resolve()):
            raise FunctionError(f"function '{name}': expected a file in {beside}, got '{terms}'; move it there")
        entries = read_entries(name, path)
    if win not in ("most", "longest", "heaviest"):
        raise FunctionError(f"function '{name}': expected win to be most, longest or heaviest, got {win!r}")
    if not entries:
        raise FunctionError(f"function '{name}': expected at least one term")
    for entry in entries:
        if not entry.term.strip() or not entry.is_a.strip():
            raise FunctionError(f"function '{name}': {entry.place}: expected a term and a label (or is_a), none blank")
    return KnowledgeFunction(name, entries, win, field, owner=owner, examples=examples)


def read_entries(name: str, path: Path) -> list[Entry]:
    """Read a table of terms: ``.csv``, ``.jsonl`` or ``.yaml``; each entry knows its file and line."""
    if not path.is_file():
        raise FunctionError(f"function '{name}': {path}: not found; expected a table of terms there")
    if path.suffix in (".yaml", ".yml"):
        document = read_yaml(path)
        return [
            _entry(name, f"{path}:{line_of(path, (str(term),))}", _spelt(term, value))
            for term, value in document.items()
        ]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FunctionError(
            f"function '{name}': {path}: expected UTF-8 text ({error.reason} at byte {error.start})"
        ) from None
    if path.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text))
        return [_entry(name, f"{path}:{reader.line_num}", line) for line in reader]
    if path.suffix != ".jsonl":
        raise FunctionError(f"function '{name}': {path}: expected a .csv, .jsonl or .yaml file")
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                entries.append(_entry(name, f"{path}:{number}", json.loads(line)))
            except json.JSONDecodeError as error:
                raise FunctionError(f"function '{name}': {path}:{number}: not valid JSON: {error.msg}") from None
    return entries


def label_of_each(name: str, entries: Sequence[Entry]) -> dict[str, str]:
    """Follow each term upwards to what is no term: its label. Refuse a term that stands twice, and a circle."""
    above: dict[str, str] = {}
    places: dict[str, str] = {}
    for entry in entries:
        if entry.term in above:
            raise FunctionError(
                f"function '{name}': {entry.place}: the term '{entry.term}' stands already ({places[entry.term]}); remove one"
            )
        above[entry.term], places[entry.term] = entry.is_a, entry.place
    labels: dict[str, str] = {}
    for term in above:
        way = [term]
        # A label may be a word of its own: {"billing": "billing"} is no circle.
        while way[-1] in above and above[way[-1]] != way[-1] and way[-1] not in labels:
            if above[way[-1]] in way:
                circle = " -> ".join([*way[way.index(above[way[-1]]) :], above[way[-1]]])
                raise FunctionError(
                    f"function '{name}': {places[way[-1]]}: terms stand above each other in a circle: {circle}"
                )
            way.append(above[way[-1]])
        top = labels.get(way[-1], way[-1])
        labels |= {passed: top for passed in way if passed in above}
    return labels


def vote_by_terms(texts: pl.Series, terms: pl.DataFrame, win: Rule) -> pl.Series:
    """Vote on a column of texts: label names, null to abstain.

    Parameters
    ----------
    texts : pl.Series
        Strings, nulls among them.
    terms : pl.DataFrame
        ``pattern``, ``label``, ``weight``, ``length``.
    win : str
        Which label wins.
    """
    # Of candidates that begin together Polars takes the first listed: the longest.
    ordered = terms.sort("length", descending=True, maintain_order=True)["pattern"].to_list()
    rows = pl.DataFrame([texts.cast(pl.String).alias("text")]).with_row_index("row")
    matches = (
        rows.select("row", _edged(pl.col("text")).str.extract_many(ordered, leftmost=True).alias("pattern"))
        .explode("pattern", empty_as_null=True, keep_nulls=True)
        .drop_nulls()
        .unique()
        .join(terms, on="pattern")
    )
    worth = {
        "most": pl.len().cast(pl.Float64),
        "longest": pl.col("length").max().cast(pl.Float64),
        "heaviest": pl.col("weight").sum().round(9),
    }
    scores = matches.group_by("row", "label").agg(worth[win].alias("score"))
    best = scores.filter(pl.col("score") == pl.col("score").max().over("row"))
    winners = best.group_by("row").agg(pl.col("label").first(), pl.len().alias("tied")).filter(pl.col("tied") == 1)
    return rows.join(winners, on="row", how="left", maintain_order="left")["label"].alias(texts.name)


def _edged(text: pl.Expr) -> pl.Expr:
    """Write a text so that a whole-word match is a plain substring: lower case, single spaces, an edge around each non-word sign."""
    plain = text.str.normalize("NFC").str.to_lowercase().str.replace_all(r"[\s\x1f]+", " ")
    return pl.lit(EDGE) + plain.str.replace_all(r"(\W)", f"{EDGE}${{1}}{EDGE}") + pl.lit(EDGE)


def _spelt(term: Any, value: Any) -> dict[str, Any]:
    return {"term": str(term), **value} if isinstance(value, dict) else {"term": str(term), "label": value}


def _entry(name: str, place: str, line: Any) -> Entry:
    if not isinstance(line, dict) or not isinstance(line.get("term"), str):
        raise FunctionError(f"function '{name}': {place}: expected term and label (or is_a), got {line!r}")
    unknown = [str(key) for key in line if key not in ("term", "label", "is_a", "weight")]
    if unknown:
        raise FunctionError(
            f"function '{name}': {place}: expected term, label, is_a and weight only, got '{unknown[0]}'"
        )
    above = [str(line[key]) for key in ("label", "is_a") if line.get(key) not in (None, "")]
    if len(above) != 1 or not line["term"].strip():
        raise FunctionError(
            f"function '{name}': {place}: expected a term and either its label or its is_a, got {line!r}"
        )
    given = line.get("weight")
    try:
        weight = 1.0 if given in (None, "") else float(given)
    except (TypeError, ValueError):
        weight = math.nan
    if not math.isfinite(weight) or weight <= 0:
        raise FunctionError(f"function '{name}': {place}: expected a weight above 0, got {given!r}")
    return Entry(" ".join(line["term"].split()), above[0].strip(), weight, place)
