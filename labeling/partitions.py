"""Sends the partitions of a large corpus to a Dask cluster, and gives back what comes, in their order.

Only where a cluster is named (``PRICECUT_DASK_ADDRESS``, which the flow sets for its stages) and the corpus is larger than a
partition. What is computed there is what would be computed here: a worker that runs other code refuses.
"""

import hashlib
import importlib
import logging
import os
import platform
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ledger.errors import ConfigurationError, PricecutError

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger(__name__)

ADDRESS, ROWS = "PRICECUT_DASK_ADDRESS", "PRICECUT_DASK_PARTITION_ROWS"
PARTITION_ROWS = 100_000
"""Rows of a partition where the environment says nothing; a corpus that has no more stays in one process's hands."""

ANSWERS_WITHIN_S = 15.0
"""How long a scheduler, and a first worker, may take to answer."""

AHEAD = 2
"""Partitions a worker's thread that are on their way at once; so many are held in memory, whatever the corpus has."""

STANDS_ON = ("polars", "snorkel", "rensa", "regex")

Shared = TypeVar("Shared")
Partition = TypeVar("Partition")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster to which partitions may go.

    Attributes
    ----------
    address : str
        Of its scheduler: ``tcp://host:8786``, or ``tls://``.
    rows : int
        Of a partition.
    """

    address: str
    rows: int


def configured_cluster() -> Cluster | None:
    """Return the cluster that the environment names, None where it names none.

    Raises
    ------
    ConfigurationError
        If the number of rows is none.
    """
    address = os.environ.get(ADDRESS)
    if not address:
        return None
    rows = os.environ.get(ROWS) or str(PARTITION_ROWS)
    if not rows.isdecimal() or int(rows) < 1:
        raise ConfigurationError(f"{ROWS}={rows}: expected the rows of a partition, a whole number from 1 on")
    return Cluster(address, int(rows))


def over_cluster(
    cluster: Cluster,
    work: Callable[[Shared, Partition], Answer],
    shared: Shared,
    partitions: Iterator[Partition],
) -> Iterator[Answer]:
    """Yield the work's answer for each partition, in their order, computed by the cluster's workers.

    Parameters
    ----------
    cluster : Cluster
        Where.
    work : callable
        A function of a module, which workers import.
    shared : object
        What all partitions need; it is sent to each worker once.
    partitions : iterator
        Read as workers get free.

    Raises
    ------
    PricecutError
        If the cluster does not answer, has no worker, or a worker cannot do the work; one that the work raised is raised as it is.
    """
    from distributed import CancelledError, KilledWorker

    with _connected(cluster.address) as client:
        try:
            threads = sum(client.nthreads().values())
            # By name, and by a function that is sent along: the scheduler reads the tasks, and need not have this code.
            name = (work.__module__, work.__qualname__)
            in_worker = lambda *task: __import__("labeling.partitions", fromlist=["_"]).carry_out(*task)  # noqa: E731
            (everywhere,) = client.scatter([shared], broadcast=True, hash=False)
            logger.info("partitions of %d rows go to %s (%d threads)", cluster.rows, cluster.address, threads)
            waiting: deque[Future] = deque()
            for partition in partitions:
                waiting.append(client.submit(in_worker, CODE, name, everywhere, partition, pure=False))
                del partition
                if len(waiting) >= AHEAD * threads:
                    yield _answer(waiting.popleft())
            while waiting:
                yield _answer(waiting.popleft())
        except KilledWorker as error:
            raise PricecutError(
                f"{cluster.address}: workers died of the same partition one after another ({error.last_worker.address} was the "
                f"last): memory ran out, or a function ended the process; give them more, or set a smaller {ROWS}"
            ) from None
        except (CancelledError, OSError) as error:
            lost = "scheduler was" if client.status != "running" else "workers that held what all partitions need were"
            raise PricecutError(
                f"{cluster.address}: the Dask {lost} lost while they worked ({type(error).__name__}); see their logs, start them again, "
                "then this stage"
            ) from None


@contextmanager
def _connected(address: str) -> Iterator["Client"]:
    import dask
    from distributed import Client

    # A partition rides in its task, so that the scheduler can give it to another worker where one dies.
    quiet = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}
    try:
        client = Client(address, timeout=ANSWERS_WITHIN_S, set_as_default=False, name="pricecut")
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # the last two: TLS without its certificates
        raise PricecutError(
            f"{address}: no Dask scheduler answers there within {ANSWERS_WITHIN_S:g} s ({_in_short(error)}); start one with "
            f"`dask scheduler`, or correct {ADDRESS} or runner.address in params.yaml"
        ) from None
    with client, dask.config.set(quiet):
        try:
            client.wait_for_workers(1, timeout=ANSWERS_WITHIN_S)
        except TimeoutError:
            raise PricecutError(
                f"{address}: the Dask scheduler has no worker; start one with `dask worker {address}`"
            ) from None
        yield client


def carry_out(code: str, work: tuple[str, str], shared: Any, partition: Any) -> Any:
    """Work on a partition, in a worker; what is wrong comes back as a value, so that the worker's log has no trace of it."""
    if code != CODE:
        return PricecutError(
            f"the Dask worker on {platform.node()} (process {os.getpid()}) runs other code, or versions of {', '.join(STANDS_ON)} or "
            "Python, than this stage; bring its clone and environment up to date and start it again"
        )
    module, name = work
    try:
        return getattr(importlib.import_module(module), name)(shared, partition)
    except PricecutError as error:
        return error


def _answer(future: "Future") -> Any:
    try:
        answer = future.result()
    except ModuleNotFoundError as error:
        raise PricecutError(
            f"a Dask worker cannot import '{error.name}'; start it in a clone of the project, by the clone's own .venv/bin/dask"
        ) from None
    if isinstance(answer, PricecutError):
        raise answer
    return answer


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _code() -> str:
    """Return a digest of the code that works on partitions, as it stands when this module is first imported."""
    here = Path(__file__).resolve().parent
    files = [*here.glob("functions/*.py"), *here.glob("voting/*.py"), here / "duplicates.py", here / "partitions.py"]
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    digest.update(" ".join([platform.python_version(), *map(version, STANDS_ON)]).encode())
    return digest.hexdigest()


CODE = _code()
"""A worker lives long: it holds the code that it imported, whatever its clone was brought up to since."""
