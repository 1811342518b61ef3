"""Reads ``params.yaml``: everything a person may turn, a section a stage."""

import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ledger.errors import ConfigurationError

PARAMETERS_FILE = Path("params.yaml")

Section = TypeVar("Section", bound="Parameters")


class Parameters(BaseModel):
    """A section of ``params.yaml``; unknown keys are refused and nothing has a second default here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_parameters(section: str, model: type[Section], path: Path = PARAMETERS_FILE) -> Section:
    """Read and validate one section.

    Parameters
    ----------
    section : str
        The section's name, as a stage in ``dvc.yaml`` lists it under ``params``.
    model : type of Parameters
        What the section must look like.
    path : Path
        The parameters' file.

    Returns
    -------
    Section
        The section, typed.

    Raises
    ------
    ConfigurationError
        If the file or the section is missing, or a key is unknown, missing or of the wrong type;
        the message names file, line and key.
    """
    document = read_yaml(path)
    if section not in document:
        raise ConfigurationError(f"{path}: expected a section '{section}:'; add it (see docs/parameters.md)")
    return validate(model, document[section], path, (section,))


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, or raise a ConfigurationError that names the file and the line."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: not found; expected a YAML file there") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: expected UTF-8 text ({error.reason} at byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}:1: expected a YAML mapping (key: value)")
    return document


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], value: object, path: Path, prefix: tuple[str, ...] = ()) -> Model:
    """Validate a part of a YAML file, naming file, line and key of each fault.

    Parameters
    ----------
    model : type of BaseModel
        What the part must look like.
    value : object
        The part, as read.
    path : Path
        The file it was read from.
    prefix : tuple of str
        The keys that lead to the part.

    Raises
    ------
    ConfigurationError
        One line a fault.
    """
    try:
        return model.model_validate(value)
    except ValidationError as invalid:
        faults = []
        for fault in invalid.errors(include_url=False):
            keys = (*prefix, *(str(key) for key in fault["loc"]))
            reason = {"extra_forbidden": "unknown key", "missing": "missing key"}.get(fault["type"], fault["msg"])
            given = "" if fault["type"] in ("extra_forbidden", "missing") else f", got {fault['input']!r}"
            faults.append(f"{path}:{line_of(path, keys)}: {'.'.join(keys)}: {reason}{given}")
        raise ConfigurationError(os.linesep.join(faults)) from None


def line_of(path: Path, keys: tuple[str, ...]) -> int:
    """Find the line (from 1) where a key of a YAML file stands, or its nearest ancestor's."""
    node = yaml.compose(path.read_text(encoding="utf-8"))
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if str(k.value) == key), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
        else:
            break
    return line
