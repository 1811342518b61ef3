"""One scheduled run of an app at a time: on this machine by a lock on a file, on a server by a limit of one."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ledger.errors import DataError

HELD_FOLDER = Path(".pricecut/schedule")
LEASE_S = 60
"""Seconds after which the server gives the place of a machine that died to another; a living run renews it."""


class HeldError(DataError):
    """Another run of the app is going."""


@contextmanager
def holding(app: str) -> Iterator[None]:
    """Hold an app for as long as its run goes; the kernel lets go when the process dies, however it dies.

    Raises
    ------
    HeldError
        If another run holds it, on this machine or on another one of the same server.
    """
    HELD_FOLDER.mkdir(parents=True, exist_ok=True)
    with (HELD_FOLDER / f"{app}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeldError(f"another scheduled run of '{app}' is going on this machine") from None
        with _place_on_server(app):
            yield


@contextmanager
def _place_on_server(app: str) -> Iterator[None]:
    from prefect.client.orchestration import get_client
    from prefect.concurrency.sync import concurrency

    name = f"pricecut-app-{app}"
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, limit=1)
    # A run that died a moment ago still has its place: wait for as long as that may last.
    place = concurrency(
        name, timeout_seconds=LEASE_S + 15, lease_duration=LEASE_S, raise_on_lease_renewal_failure=False
    )
    try:
        place.__enter__()
    except TimeoutError:
        raise HeldError(f"another scheduled run of '{app}' is going on another machine") from None
    with ExitStack() as held:
        held.push(place.__exit__)
        yield
