"""Tells TensorBoard, and whom else the parameters name, how a training run goes."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from ledger.errors import ConfigurationError
from ledger.parameters import Parameters

Log = Callable[[int, Mapping[str, float | None]], None]
"""Takes a step's number, such as an epoch's, and figures by name; None is left out."""


class LogParameters(Parameters):
    """The key ``log`` of a training stage.

    Attributes
    ----------
    wandb : str or None
        A project of Weights & Biases; its own environment variables say who and where (``WANDB_MODE=offline``: nowhere).
    mlflow : str or None
        A tracking URI of MLflow, such as ``http://host:5000`` or ``sqlite:///mlflow.db``.
    """

    wandb: str | None
    mlflow: str | None


@contextmanager
def run_log(folder: Path, parameters: LogParameters, name: str, settings: Mapping[str, Any]) -> Iterator[Log]:
    """Open the logs of a run.

    Parameters
    ----------
    folder : Path
        Where TensorBoard's event files are written, always.
    parameters : LogParameters
        Who else is told; only then is a package imported.
    name : str
        Of the run (Weights & Biases) and of the experiment (MLflow).
    settings : mapping
        What the run was given, for the record.

    Raises
    ------
    ConfigurationError
        If a package that the parameters name is not installed.
    """
    with ExitStack() as opened:
        logs = [_tensorboard(opened, folder)]
        if parameters.wandb:
            logs.append(_wandb(opened, parameters.wandb, name, settings))
        if parameters.mlflow:
            logs.append(_mlflow(opened, parameters.mlflow, name, settings))

        def log(step: int, figures: Mapping[str, float | None]) -> None:
            known = {key: value for key, value in figures.items() if value is not None}
            for tell in logs:
                tell(step, known)

        yield log


def _tensorboard(opened: ExitStack, folder: Path) -> Log:
    writer = tf.summary.create_file_writer(str(folder))
    opened.callback(writer.close)

    def tell(step: int, figures: Mapping[str, float | None]) -> None:
        with writer.as_default(step=step):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
        writer.flush()

    return tell


def _wandb(opened: ExitStack, project: str, name: str, settings: Mapping[str, Any]) -> Log:
    run = _package("wandb").init(project=project, name=name, config=dict(settings))
    opened.callback(run.finish)
    return lambda step, figures: run.log(dict(figures), step=step)


def _mlflow(opened: ExitStack, uri: str, name: str, settings: Mapping[str, Any]) -> Log:
    mlflow = _package("mlflow")
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(name)
    opened.enter_context(mlflow.start_run())
    mlflow.log_params(dict(settings))
    return lambda step, figures: mlflow.log_metrics(dict(figures), step=step)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(
            f"params.yaml: log.{name} is set, but the package {name} is not installed; pip install {name}, or set it to null"
        ) from None
