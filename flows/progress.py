"""How far a run is, on Prefect's page of it."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

TELL_EVERY = 1.0
"""Seconds between two updates."""
LAST_WORD = 5.0
"""Seconds that a run waits for its last update to arrive."""
RETRIES = 1
"""Of a request to a server that does not answer; Prefect's own five take a minute, each time."""


@contextmanager
def progress(total: int, key: str = "pricecut-stages") -> Iterator[Callable[[str], None]]:
    """Show how many of a run's stages have ended; gives a function to call with the label of each.

    A thread of its own tells Prefect, so that a server that has died, or hangs, keeps nobody waiting.

    Parameters
    ----------
    total : int
        How many there are.
    key : str
        The artifact's.
    """
    ended: list[str] = []
    over = threading.Event()
    try:
        with few_retries():
            artifact: Any = create_progress_artifact(0.0, key=key, description=f"0 of {total} stages")
    except Exception as error:
        get_run_logger().warning("Prefect does not show the run's progress (%s)", error)
        yield ended.append
        return

    def tell() -> None:
        told = 0
        while not (last := over.wait(TELL_EVERY)) or told < len(ended):
            if told < len(ended):
                told = len(ended)
                said = f"{told} of {total} stages, last {ended[told - 1]}"
                with suppress(Exception), few_retries():  # the run goes on; the next update says it all
                    update_progress_artifact(artifact, min(100.0, 100.0 * told / max(total, 1)), description=said)
            if last:
                return

    teller = threading.Thread(target=contextvars.copy_context().run, args=(tell,), daemon=True, name="progress")
    teller.start()
    try:
        yield ended.append
    finally:
        over.set()
        teller.join(LAST_WORD)


def few_retries() -> AbstractContextManager[Any]:
    """Ask a server that does not answer twice, not for minutes, while this is held."""
    return temporary_settings({PREFECT_CLIENT_MAX_RETRIES: RETRIES})
