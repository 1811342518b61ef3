"""DVC's graph: which stages there are, what each needs, and what its ``meta:`` asks of whoever runs it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import networkx as nx
from pydantic import Field

from flows.repository import open_repository
from flows.root import DAG_FILE
from ledger.errors import ConfigurationError
from ledger.parameters import Parameters, validate

DEFAULT_POOL = "cpu"


def label_of(address: str) -> str:
    """Return an address without the pipeline's file: ``vote@customer_service``."""
    return address.rpartition(":")[2]


def file_of(address: str) -> Path:
    """Return the pipeline's file that an address names: ``benchmarks/dvc.yaml``."""
    return Path(address.rpartition(":")[0] or DAG_FILE)


class Contract(Parameters):
    """``meta:`` of a stage in dvc.yaml: its contract with the operator.

    Attributes
    ----------
    pool : str
        The pool of ``params.yaml`` in which it takes a place.
    retries : int
        How often it is tried again when it fails; not where it exits with 2, which a person has to mend.
    retry_delay : float
        Seconds before it is tried again.
    timeout : float or None
        Seconds after which it is ended, and has failed.
    priority : int
        Of the stages that could start, that with the highest does.
    """

    pool: str = DEFAULT_POOL
    retries: Annotated[int, Field(ge=0)] = 0
    retry_delay: Annotated[float, Field(ge=0)] = 0.0
    timeout: Annotated[float, Field(gt=0)] | None = None
    priority: int = 0


@dataclass(frozen=True)
class Stage:
    """A stage of the graph.

    Attributes
    ----------
    address : str
        As DVC names it: ``vote@customer_service``, ``benchmarks/dvc.yaml:vote@youtube_spam``.
    contract : Contract
        What its ``meta:`` says.
    needs : tuple of str
        The addresses of the stages whose outputs it reads.
    outputs : tuple of str
        Relative to the project's root.
    """

    address: str
    contract: Contract
    needs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def label(self) -> str:
        """The address without the pipeline's file: ``vote@customer_service``."""
        return label_of(self.address)


def read_graph() -> dict[str, Stage]:
    """Read every stage of every ``dvc.yaml`` of the project, a stage always after those that it needs.

    Raises
    ------
    ConfigurationError
        If this is no DVC repository, a dvc.yaml cannot be read, or a stage's ``meta:`` asks what is not known.
    """
    return graph_of(open_repository())


def graph_of(repo: Any) -> dict[str, Stage]:
    """Read the graph of an open repository of DVC's."""
    graph, root = repo.index.graph, Path(repo.root_dir)
    stages = {}
    for stage in reversed(list(nx.lexicographical_topological_sort(graph, key=lambda stage: stage.addressing))):
        if not hasattr(stage, "name"):
            continue  # a .dvc file: data that someone added, nothing to run
        stages[stage.addressing] = Stage(
            address=stage.addressing,
            contract=_contract(stage),
            needs=tuple(sorted(need.addressing for need in graph.successors(stage) if hasattr(need, "name"))),
            outputs=tuple(os.path.relpath(out.fs_path, root) for out in stage.outs),
        )
    return stages


def _contract(stage: Any) -> Contract:
    name, _, _ = stage.name.partition("@")
    return validate(Contract, stage.meta or {}, file_of(stage.addressing), ("stages", name, "meta"))


def stages_of(graph: dict[str, Stage], app: str, last: str | None = None) -> dict[str, Stage]:
    """Return an app's stages and all that they need, in order.

    Parameters
    ----------
    graph : dict of str to Stage
        As `read_graph` returns it.
    app : str
        The app.
    last : str or None
        Only up to this stage (``label``); None for all.
    """
    wanted = [a for a, stage in graph.items() if stage.label.partition("@")[2] == app]
    if last is not None:
        wanted = [address for address in wanted if graph[address].label.partition("@")[0] == last]
    return with_needs(graph, wanted)


def with_needs(graph: dict[str, Stage], wanted: Iterable[str]) -> dict[str, Stage]:
    """Return some stages and all that they need, in order."""
    needed: set[str] = set()
    frontier = list(wanted)
    while frontier:
        address = frontier.pop()
        if address not in needed:
            needed.add(address)
            frontier.extend(graph[address].needs)
    return {address: stage for address, stage in graph.items() if address in needed}


def planned(graph: dict[str, Stage], targets: Iterable[str]) -> dict[str, Stage]:
    """Return the stages of some targets, and all that they need, in order; raise a ConfigurationError where one names none."""
    return with_needs(graph, [address for target in targets for address in targeted(graph, target)])


def targeted(graph: dict[str, Stage], target: str) -> list[str]:
    """Return the stages that a target names: an app's, one stage, all of a name, or all of a pipeline's file.

    Raises
    ------
    ConfigurationError
        If it names none.
    """
    ways = (
        lambda stage: stage.label.partition("@")[2] == target,
        lambda stage: stage.address == target,
        lambda stage: target in (stage.label, stage.label.partition("@")[0]),
        lambda stage: file_of(stage.address) == Path(target),
    )
    for way in ways:
        if found := [address for address, stage in graph.items() if way(stage)]:
            return found
    raise ConfigurationError(
        f"'{target}' is no app, no stage and no pipeline; expected an app of params.yaml, a stage as `dvc stage list` names it "
        "(vote@customer_service), or a dvc.yaml; `pricecut apps` lists the apps, `pricecut new` makes one"
    )


def producer(graph: dict[str, Stage], path: Path) -> Stage | None:
    """Return the stage that writes a path, or None where it is a source."""
    return next((stage for stage in graph.values() if str(path) in stage.outputs), None)
