"""Resource pools: how many stages of each may run at once, in this run and in all runs of a server."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, RootModel

from flows.graph import Stage, file_of
from ledger.errors import ConfigurationError
from ledger.parameters import PARAMETERS_FILE, read_yaml, validate

ALONE = "latency"
"""The pool whose stages run alone: what measures milliseconds must have the machine to itself."""


class PoolSizes(RootModel[dict[str, Annotated[int, Field(ge=1)]]]):
    """Section ``pools`` of ``params.yaml``: a size a pool."""


def read_pools() -> dict[str, int]:
    """Read the pools' sizes.

    Raises
    ------
    ConfigurationError
        If the section is missing, or a size is no whole number from 1 on.
    """
    section = read_yaml(PARAMETERS_FILE).get("pools")
    if section is None:
        raise ConfigurationError(f"{PARAMETERS_FILE}: expected a section 'pools:'; add it (see docs/parameters.md)")
    return validate(PoolSizes, section, PARAMETERS_FILE, ("pools",)).root


def check_pool(stage: Stage, sizes: Mapping[str, int]) -> None:
    """Raise a ConfigurationError where a stage names a pool that has no size."""
    pool = stage.contract.pool
    if pool != ALONE and pool not in sizes:
        raise ConfigurationError(
            f"{file_of(stage.address)}: stage '{stage.label}' names the pool '{pool}'; expected '{ALONE}' or one of "
            f"{PARAMETERS_FILE}'s pools: {', '.join(sizes)}; add its size there"
        )


def has_place(pool: str, running: Counter[str], sizes: Mapping[str, int]) -> bool:
    """Whether one more stage of a pool may start.

    Parameters
    ----------
    pool : str
        Its pool.
    running : Counter of str
        How many stages of each pool are running.
    sizes : mapping of str to int
        How many may.
    """
    if pool == ALONE:
        return not running.total()
    return not running[ALONE] and running[pool] < sizes[pool]


def slots_of(pool: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return how many slots of which pools a stage takes: one of its own, or all of all where it runs alone."""
    return dict(sizes) if pool == ALONE else {pool: 1}
