"""An app's configuration: its labels, its sources and how their columns map to one schema."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.errors import ConfigurationError
from ledger.parameters import read_yaml, validate
from ledger.places import Places

Format = Literal["csv", "jsonl", "parquet", "wrench"]
Split = Literal["train", "gold", "test"]

SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".json": "wrench"}
STANDARD_COLUMNS = ("id", "text", "label", "time", "author")
RESERVED_COLUMNS = (
    "record",
    "records",
    "source",
    "sources",
    "row",
    "row_id",
    "split",
    "reason",
    "kept",
    "__row__",
    "__text__",
)
"""What tables of pricecut call their own columns; no field of an app may be called so."""

APP_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Strict(BaseModel):
    """A part of ``app.yaml``; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Strict):
    """One source of messages.

    Attributes
    ----------
    file : str
        Relative to the app's folder of sources (``apps.<app>.sources`` in ``params.yaml``).
    format : str or None
        ``csv``, ``jsonl``, ``parquet`` or ``wrench``; None takes it from the file's suffix.
    encoding : str
        Of a text file.
    columns : dict of str to str
        Our column to the source's. ``text`` is required; ``id`` defaults to the row's number; ``label`` is a known truth,
        used for the gold sample, the test and for measuring, never for training; any further name is a field
        that functions may read.
    label_names : dict of str to str
        How this source writes a label, to the app's name for it.
    reliability : float or None
        Between 0 and 1; None estimates it from how often the source agrees with others.
    split : str or None
        The split that every record of this source belongs to, where the source was published as one.
    """

    file: str
    format: Format | None = None
    encoding: str = "utf-8"
    columns: dict[str, str]
    label_names: dict[str, str] = {}
    reliability: Annotated[float, Field(gt=0, lt=1)] | None = None
    split: Split | None = None

    @model_validator(mode="after")
    def _has_text(self) -> "Source":
        if "text" not in self.columns:
            raise ValueError("expected 'text: <the source's column that holds the message>'")
        return self

    @model_validator(mode="after")
    def _names_are_free(self) -> "Source":
        if taken := [name for name in self.columns if name in RESERVED_COLUMNS]:
            raise ValueError(
                f"expected a field's name that pricecut does not use itself, got '{taken[0]}'; call it another"
            )
        return self

    @property
    def kind(self) -> Format | None:
        """The format, stated or taken from the suffix; None where neither tells."""
        return self.format or SUFFIXES.get(Path(self.file).suffix)

    @property
    def fields(self) -> tuple[str, ...]:
        """The app's own columns of this source."""
        return tuple(name for name in self.columns if name not in STANDARD_COLUMNS)


class PublishedSplit(Strict):
    """Splits published as files that hold the texts of each (WRENCH's JSON), matched on the exact text."""

    published: dict[Split, str]


class App(Strict):
    """What ``app.yaml`` says.

    Attributes
    ----------
    title : str
        The question the classifier answers.
    labels : tuple of str
        At least two, in the order of their numbers.
    generated : str or None
        A sentence that says so, where the data are invented; the report repeats it.
    sources : dict of str to Source
        At least one.
    split : PublishedSplit or None
        None splits by shares (``fuse`` in ``params.yaml``).
    merge : bool
        False keeps near-duplicates as rows of their own, to compare with figures published on the rows as they stand.
        Rows too near a test text are held back either way.
    """

    title: str
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    generated: str | None = None
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    split: PublishedSplit | None = None
    merge: bool = True

    @model_validator(mode="after")
    def _labels_differ(self) -> "App":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"expected labels that differ, got {list(self.labels)}")
        return self

    @model_validator(mode="after")
    def _unmerged_is_published(self) -> "App":
        # Shares drawn a row at a time would put near-duplicates on both sides of the test.
        if not self.merge and self.split is None and any(source.split is None for source in self.sources.values()):
            raise ValueError(
                "'merge: false' is for rows whose splits are published: add 'split:' to the app or to each source"
            )
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """The app's own columns over all sources, in order of appearance."""
        return tuple(dict.fromkeys(name for source in self.sources.values() for name in source.fields))


def configuration_file(places: Places) -> Path:
    """Where an app's configuration stands."""
    return places.app_folder / "app.yaml"


def read_app(places: Places) -> App:
    """Read and validate an app's configuration.

    Raises
    ------
    ConfigurationError
        One line a fault, with file, line and key.
    """
    path = configuration_file(places)
    if not places.app_folder.is_dir():
        raise ConfigurationError(
            f"{places.app_folder}: no such app; `pricecut apps` lists them, `pricecut new` makes one"
        )
    app = validate(App, read_yaml(path), path)
    if app.split and any(source.split for source in app.sources.values()):
        raise ConfigurationError(f"{path}: expected either 'split:' for the app or for each source, got both")
    return app
