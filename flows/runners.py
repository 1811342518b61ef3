"""Where stages run: in threads of this machine, or on the workers of a Dask cluster. Section ``runner`` of ``params.yaml`` says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from labeling.partitions import ADDRESS, PARTITION_ROWS, ROWS
from ledger.errors import ConfigurationError
from ledger.parameters import PARAMETERS_FILE, Parameters, read_yaml, validate

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner

LOCAL = ("distributed.LocalCluster", "dask.distributed.LocalCluster", "distributed.deploy.LocalCluster")
ON_LOOPBACK = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
"""Dask's HTTP servers would listen on every interface, also where the dashboard is switched off."""


class RunnerParameters(Parameters):
    """Section ``runner`` of ``params.yaml``; no stage reads it, so that a change of it runs none.

    Attributes
    ----------
    kind : str
        ``threads``, or ``dask``.
    address : str or None
        Of a scheduler that is up: ``tcp://host:port``, or ``tls://``. The environment's PRICECUT_DASK_ADDRESS goes before it.
    cluster_class : str or None
        A class that starts a cluster for the run and ends it after, such as ``distributed.LocalCluster``.
    cluster_kwargs : dict
        Its arguments.
    partition_rows : int
        Rows from which `fuse` and `vote` cut the corpus in partitions, and of each.
    resources : list of str
        Pools whose stages go only to workers that offer a resource of that name (``dask worker --resources gpu=1``).
    """

    kind: Literal["threads", "dask"] = "threads"
    address: Annotated[str, Field(pattern=r"^(tcp|tls)://\S+:\d+$")] | None = None
    cluster_class: Annotated[str, Field(pattern=r"^\w+(\.\w+)+$")] | None = None
    cluster_kwargs: Annotated[dict[str, Any], Field(default_factory=dict)]
    partition_rows: Annotated[int, Field(ge=1)] = PARTITION_ROWS
    resources: Annotated[list[str], Field(default_factory=list)]

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "RunnerParameters":
        named = [name for name in ("address", "cluster_class") if getattr(self, name)]
        if self.kind == "threads" and (named or self.cluster_kwargs or self.resources):
            raise ValueError(
                "kind 'threads' takes no address, cluster_class, cluster_kwargs or resources; say kind: dask"
            )
        if self.kind == "dask" and len(named) != 1:
            raise ValueError("kind 'dask' expects an address or a cluster_class, and not both")
        if self.cluster_kwargs and not self.cluster_class:
            raise ValueError("cluster_kwargs belong to a cluster_class")
        return self


def read_runner() -> RunnerParameters:
    """Read where stages run: the section ``runner``, or threads where there is none; the environment's address goes before it.

    Raises
    ------
    ConfigurationError
        If a key is unknown or of the wrong type, or the keys do not fit together.
    """
    section = read_yaml(PARAMETERS_FILE).get("runner")
    runner = validate(RunnerParameters, {} if section is None else section, PARAMETERS_FILE, ("runner",))
    address = os.environ.get(ADDRESS)
    if not address:
        return runner
    said = {"kind": "dask", "address": address, "partition_rows": runner.partition_rows, "resources": runner.resources}
    try:
        return RunnerParameters.model_validate(said)
    except ValueError:
        raise ConfigurationError(f"{ADDRESS}={address}: expected tcp://host:port or tls://host:port") from None


@contextmanager
def open_cluster(runner: RunnerParameters) -> Iterator["DaskTaskRunner | None"]:
    """Connect to the cluster, or start it for this run; yields None where stages run in threads.

    Stages that are started meanwhile learn of the cluster by their environment.

    Raises
    ------
    ConfigurationError
        If no scheduler answers, or the cluster cannot be started.
    """
    if runner.kind == "threads":
        yield None
        return
    from prefect_dask.task_runners import DaskTaskRunner

    import labeling.partitions as partitions

    within = partitions.ANSWERS_WITHIN_S
    if runner.address:
        where = runner.address
        dask = DaskTaskRunner(address=where, client_kwargs={"timeout": within})
    else:
        where = str(runner.cluster_class)
        arguments = (ON_LOOPBACK if where in LOCAL else {}) | runner.cluster_kwargs
        try:
            dask = DaskTaskRunner(cluster_class=where, cluster_kwargs=arguments, client_kwargs={"timeout": within})
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(f"{PARAMETERS_FILE}: runner.cluster_class: {where}: {error}") from None
    with dask:
        try:
            address = str(dask.client.scheduler_info()["address"])
        except Exception as error:  # whatever a class of clusters raises
            hint = "start one with `dask scheduler`, or correct" if runner.address else "correct"
            raise ConfigurationError(
                f"{where}: no Dask scheduler answers there within {within:g} s ({type(error).__name__}: {error}); {hint} "
                f"{ADDRESS} or runner in {PARAMETERS_FILE}"
            ) from None
        with _environment({ADDRESS: address, ROWS: str(runner.partition_rows)}):
            yield dask


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
