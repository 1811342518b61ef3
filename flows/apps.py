"""Which apps there are, and which pipeline runs each."""

from dataclasses import dataclass
from pathlib import Path

from flows.root import DAG_FILE
from ledger.errors import ConfigurationError
from ledger.parameters import PARAMETERS_FILE, Parameters, read_yaml, validate

PIPELINES = (Path(), Path("benchmarks"))
"""The folders of the pipelines: each has a ``dvc.yaml``, and a ``params.yaml`` that lists its apps."""


class AppEntry(Parameters):
    """An app in ``params.yaml``: where its sources stand."""

    sources: str


class AppList(Parameters):
    """Section ``apps`` of a ``params.yaml``."""

    apps: dict[str, AppEntry]


@dataclass(frozen=True)
class RegisteredApp:
    """An app that a pipeline runs.

    Attributes
    ----------
    name : str
        The folder under ``labeling/apps``.
    sources : Path
        The folder of its sources.
    pipeline : Path
        The ``dvc.yaml`` that runs it.
    """

    name: str
    sources: Path
    pipeline: Path


def registered_apps() -> dict[str, RegisteredApp]:
    """Read the apps of every pipeline, in the order they are listed."""
    found: dict[str, RegisteredApp] = {}
    for folder in PIPELINES:
        path = folder / PARAMETERS_FILE
        if not path.exists() and folder != Path():
            continue
        listed = read_yaml(path).get("apps") or {}
        for name, entry in validate(AppList, {"apps": listed}, path).apps.items():
            found[name] = RegisteredApp(name, Path(entry.sources), folder / DAG_FILE)
    return found


def main_apps() -> list[str]:
    """Return the names of the main pipeline's apps."""
    return [app.name for app in registered_apps().values() if app.pipeline == DAG_FILE]


def registered_app(name: str) -> RegisteredApp:
    """Return one app.

    Raises
    ------
    ConfigurationError
        If no pipeline lists it.
    """
    apps = registered_apps()
    if name not in apps:
        raise ConfigurationError(
            f"no app '{name}' in {PARAMETERS_FILE}; expected one of: {', '.join(apps)}; `pricecut new {name}` makes one"
        )
    return apps[name]
