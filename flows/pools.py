"""Resource pools: how many stages of each may run at once."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Annotated

from pydantic import Field, RootModel

from ledger.errors import ConfigurationError
from ledger.parameters import PARAMETERS_FILE, read_yaml, validate

ALONE = "latency"
"""The pool whose stages run alone: what measures milliseconds must have the machine to itself."""


class PoolSizes(RootModel[dict[str, Annotated[int, Field(ge=1)]]]):
    """Section ``pools`` of ``params.yaml``: a size a pool."""


class Pools:
    """The places of one run.

    Parameters
    ----------
    sizes : mapping of str to int
        How many stages of each pool may run at once.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)
        self._slots = {name: threading.Semaphore(size) for name, size in sizes.items()}
        self._alone = threading.Lock()

    def check(self, stage: str, pool: str) -> None:
        """Raise a ConfigurationError where a stage names a pool that has no size."""
        if pool != ALONE and pool not in self._sizes:
            raise ConfigurationError(
                f"dvc.yaml: stage '{stage}' names the pool '{pool}'; expected '{ALONE}' or one of {PARAMETERS_FILE}'s pools: "
                f"{', '.join(self._sizes)}; add its size there"
            )

    @contextmanager
    def place(self, pool: str) -> Iterator[None]:
        """Wait for a place in a pool, and hold it.

        A stage that runs alone takes every place of every pool; any other takes one, and waits for nothing while it
        holds it, so that none waits for ever.
        """
        with ExitStack() as held:
            if pool == ALONE:
                held.enter_context(self._alone)
                for name, size in self._sizes.items():
                    for _ in range(size):
                        held.enter_context(self._slots[name])
            else:
                held.enter_context(self._slots[pool])
            yield


def read_pools() -> Pools:
    """Read the pools' sizes.

    Raises
    ------
    ConfigurationError
        If the section is missing, or a size is no whole number from 1 on.
    """
    section = read_yaml(PARAMETERS_FILE).get("pools")
    if section is None:
        raise ConfigurationError(f"{PARAMETERS_FILE}: expected a section 'pools:'; add it (see docs/parameters.md)")
    return Pools(validate(PoolSizes, section, PARAMETERS_FILE, ("pools",)).root)
