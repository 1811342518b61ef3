"""Places in pools that all runs of a Prefect server share: its global concurrency limits, held by leases that end with their holder."""

import contextlib
import fcntl
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings

PREFIX = "pricecut-"
LEASE = 60.0
"""Seconds, the least that Prefect grants: so long a place stays taken when a machine goes down."""
RENEW_EVERY = 20.0
ASK_EVERY = 1.0
HANDED_ON, IDLE = 300.0, 1.0
WAITING, WAITS = "waiting", 3.0
"""A file beside the leases, touched by each run of this machine that waits for a place; how many seconds it speaks for."""
LOCKED, UNAVAILABLE = 423, 503
BUSY_TRIES, BUSY_WAIT = 50, 0.02

log = logging.getLogger(__name__)


class Slots:
    """The places that this run holds on the server; `slots` makes one.

    A place that a stage leaves is handed to the next one without asking the server again, unless another run of this machine waits, and
    for `HANDED_ON` seconds at most, for those of other machines; one that nobody takes goes back after `IDLE`. The server is asked for one
    thing at a time: requests that come together meet each other in SQLite, which then refuses them, or lets them wait for seconds.

    Parameters
    ----------
    client : SyncPrefectClient
        The server's.
    journal : Path
        Where leases are written down, for whoever finds this process dead.
    """

    def __init__(self, client: SyncPrefectClient, journal: Path) -> None:
        self._client = client
        self._journal = journal
        self._waiting = journal.with_name(WAITING)
        self._taken: dict[str, float] = {}
        self._idle: dict[str, list[tuple[str, float]]] = {}
        self._guard = threading.Lock()
        self._asking = threading.Lock()
        self._over = threading.Event()
        self._keeping = threading.Thread(target=self._keep, daemon=True, name="pricecut-leases")
        self._keeping.start()

    @contextlib.contextmanager
    def place(self, wanted: Mapping[str, int], waiting: Callable[[], None]) -> Iterator[None]:
        """Wait for slots, and hold them.

        All are taken or none: who waits holds nothing, so that no two wait for each other.

        Parameters
        ----------
        wanted : mapping of str to int
            How many slots of which pools.
        waiting : callable
            Called once, where another run has them.
        """
        told = False
        while (leases := self._take(wanted)) is None:
            if not told:
                waiting()
            told = True
            self._waiting.touch()
            time.sleep(ASK_EVERY)
        try:
            yield
        finally:
            self._leave(wanted, leases)

    def close(self) -> None:
        """Give back what is still held."""
        self._over.set()
        self._keeping.join()
        for lease in list(self._taken):
            self._give_back(lease)

    def _take(self, wanted: Mapping[str, int]) -> list[str] | None:
        if dict(wanted) != dict.fromkeys(wanted, 1) or len(wanted) > 1:
            self._give_back_idle(0.0)  # all places are wanted, those among them
        elif lease := self._handed_on(next(iter(wanted))):
            return [lease]
        leases: list[str] = []
        for pool, number in sorted(wanted.items()):
            lease = self._lease(pool, number)
            if lease is None:
                for other in leases:
                    self._give_back(other)
                return None
            leases.append(lease)
        return leases

    def _lease(self, pool: str, number: int) -> str | None:
        try:
            response = self._asked(
                lambda: self._client.increment_concurrency_slots_with_lease(
                    names=[PREFIX + pool], slots=number, mode="concurrency", lease_duration=LEASE
                )
            )
        except httpx.HTTPStatusError as refused:
            if refused.response.status_code == LOCKED:
                return None
            raise
        lease = str(response.json()["lease_id"])
        with self._guard:
            self._taken[lease] = time.monotonic()
            with self._journal.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(lease) + "\n")
        return lease

    def _handed_on(self, pool: str) -> str | None:
        with self._guard:
            idle = self._idle.get(pool)
            return idle.pop()[0] if idle else None

    def _leave(self, wanted: Mapping[str, int], leases: list[str]) -> None:
        now, others_wait = time.monotonic(), self._others_wait()
        for lease in leases:
            if len(leases) > 1 or others_wait or now - self._taken[lease] > HANDED_ON:
                self._give_back(lease)
            else:
                with self._guard:
                    self._idle.setdefault(next(iter(wanted)), []).append((lease, now))

    def _give_back_idle(self, seconds: float) -> None:
        now, old = time.monotonic(), list[str]()
        with self._guard:
            for pool, idle in self._idle.items():
                old += [lease for lease, since in idle if now - since >= seconds]
                self._idle[pool] = [(lease, since) for lease, since in idle if now - since < seconds]
        for lease in old:
            self._give_back(lease)

    def _give_back(self, lease: str) -> None:
        with self._guard:
            self._taken.pop(lease, None)
        try:
            self._asked(lambda: self._client.release_concurrency_slots_with_lease(UUID(lease)))
        except httpx.HTTPError as error:  # the server is away; the lease ends by itself
            log.warning("a place in a pool could not be given back (%s); it is free again in %g s", error, LEASE)

    def _others_wait(self) -> bool:
        with contextlib.suppress(OSError):
            return abs(time.time() - self._waiting.stat().st_mtime) < WAITS
        return False

    def _asked(self, request: Callable[[], httpx.Response]) -> httpx.Response:
        """Send a request again at once while SQLite is busy (503, prefect#18934): Prefect's client would wait for two seconds first."""
        with self._asking, temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            for _ in range(BUSY_TRIES):
                try:
                    return request()
                except httpx.HTTPStatusError as refused:
                    if refused.response.status_code != UNAVAILABLE:
                        raise
                    time.sleep(BUSY_WAIT)
            return request()

    def _keep(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(IDLE):
            self._give_back_idle(IDLE)
            if time.monotonic() - renewed > RENEW_EVERY:
                renewed = time.monotonic()
                for lease in list(self._taken):
                    with contextlib.suppress(httpx.HTTPError):
                        self._client.renew_concurrency_lease(UUID(lease), LEASE)


@contextlib.contextmanager
def slots(sizes: Mapping[str, int]) -> Iterator[Slots]:
    """Make the server's limits as large as the pools, take back what dead runs of this machine held, and give the places of a run.

    Parameters
    ----------
    sizes : mapping of str to int
        How many stages of each pool may run at once.
    """
    with get_client(sync_client=True) as client:
        server = str(client.api_url) if client.server_type.value == "server" else "ephemeral"
        folder = Path(get_current_settings().home) / "pricecut" / "leases"
        folder.mkdir(parents=True, exist_ok=True)
        for pool, size in sizes.items():
            _set_limit(client, PREFIX + pool, size)
        _take_back(client, server, folder)
        journal = folder / f"{secrets.token_hex(8)}.jsonl"
        with journal.open("a", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # as long as this process lives
            stream.write(json.dumps({"server": server}) + "\n")
            stream.flush()
            held = Slots(client, journal)
            try:
                yield held
            finally:
                held.close()
                journal.unlink(missing_ok=True)


def _set_limit(client: SyncPrefectClient, name: str, size: int) -> None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        if client.read_global_concurrency_limit_by_name(name).limit != size:
            client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=size))
    except ObjectNotFound:
        with contextlib.suppress(Exception):  # another run made it at this moment
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=size))


def _take_back(client: SyncPrefectClient, server: str, folder: Path) -> None:
    """Give back the places of runs that were killed: nobody holds the lock on their journal any more."""
    for journal in folder.glob("*.jsonl"):
        try:
            with journal.open(encoding="utf-8") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lines: list[Any] = [json.loads(line) for line in stream if line.endswith("\n")]
                if not lines or lines[0].get("server") != server:
                    continue
                for lease in lines[1:]:
                    client.release_concurrency_slots_with_lease(UUID(lease))
                journal.unlink()
        except (BlockingIOError, FileNotFoundError, ValueError):
            continue
