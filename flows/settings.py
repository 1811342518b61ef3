"""Prefect's settings, set before Prefect is first imported; whoever has set one keeps it."""

import os

SETTINGS = {
    # A laptop's first database migration has been seen to take over a minute.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Leases of places in pools outlive the server that granted them.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",  # "database is locked" is noise (prefect#18934)
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_run_name)s  %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  pricecut  %(message)s",
}


def apply_settings() -> None:
    """Set what is not set yet."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
