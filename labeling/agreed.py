"""What a team has agreed on each labeling function: an app's ``agreed.yaml``, written by ``pricecut agree``."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AwareDatetime, Field

from ledger.errors import ConfigurationError
from ledger.parameters import Parameters, read_yaml, validate
from ledger.places import Places

Share = Annotated[float, Field(ge=0, le=1)]

HEADER = """\
# What was agreed: `vote` refuses an edit that brings a function's accuracy on gold (or its coverage) below.
# Written by `pricecut agree APP`; a number may be changed by hand.
"""


class Agreed(Parameters):
    """What was agreed on one function.

    Attributes
    ----------
    accuracy : float
        At least this share of its votes on gold rows is right.
    measured : float or None
        What its accuracy was when it was agreed on; None where someone wrote the entry by hand.
    coverage : float or None
        It votes on at least this share of the train rows; None agrees on nothing.
    votes : int
        On how many gold votes the accuracy rested.
    gold : str
        Fingerprint of the gold sample it was measured on.
    when : datetime or None
        When it was agreed on: rows that people answered later do not count, for they are no edit's doing. None: all count.
    wrong : tuple of str or None
        The gold rows it was wrong on then; None where they were too many to list.
    """

    accuracy: Share
    measured: Share | None = None
    coverage: Share | None = None
    votes: Annotated[int, Field(ge=0)] = 0
    gold: str = ""
    when: AwareDatetime | None = None
    wrong: tuple[str, ...] | None = None


def read_agreed(places: Places) -> dict[str, Agreed]:
    """Read what was agreed, a function; nothing where the file is missing or holds only comments."""
    path = places.agreed
    if not path.exists() or not _says_something(path):
        return {}
    return {str(name): validate(Agreed, value, path, (str(name),)) for name, value in read_yaml(path).items()}


def write_agreed(path: Path, agreed: dict[str, Agreed]) -> None:
    """Write what was agreed, functions by name."""
    document = {name: agreed[name].model_dump(mode="json", exclude_none=True) for name in sorted(agreed)}
    path.write_text(HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _says_something(path: Path) -> bool:
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return True  # read_yaml says what is wrong, and where
    if document is not None and not isinstance(document, dict):
        raise ConfigurationError(f"{path}:1: expected a function's name a line, then what was agreed on it")
    return document is not None
