"""A real server on PostgreSQL (Debian's package `postgresql`), started by this file's fixture, runs a scheduled flow."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.servers import free_port, server, wait_until, worker
from tests.flows.toy import make_toy

DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"


def pg_ctl() -> Path | None:
    """PostgreSQL's own program, of the newest version that is installed."""
    on_path = shutil.which("pg_ctl")
    found = sorted(DEBIAN.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return Path(on_path) if on_path else found[-1] if found else None


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A cluster of its own, on loopback; yields the address that Prefect takes."""
    program = pg_ctl()
    if program is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    executors = pytest.importorskip("pytest_postgresql.executors", reason="pytest-postgresql or libpq is not installed")
    folder = Path(
        tempfile.mkdtemp(prefix="pricecut-postgres-")
    )  # below /tmp: pytest's own folders are closed to others
    try:
        if os.getuid() == 0:  # PostgreSQL refuses to run as root: another user runs it
            if shutil.which("runuser") is None:
                pytest.skip("PostgreSQL does not run as root, and there is no runuser")
            shutil.chown(folder, USER, USER)
            wrapped = folder / "pg_ctl"
            wrapped.write_text(f'#!/bin/sh\ncd / && exec runuser -u {USER} -- {program} "$@"\n')
            wrapped.chmod(0o755)
            program = wrapped
        postgres = executors.PostgreSQLExecutor(
            executable=str(program),
            host="127.0.0.1",
            port=free_port(),
            datadir=str(folder / "data"),
            unixsocketdir=str(folder),
            logfile=str(folder / "log"),
            startparams="-w",
            dbname=USER,
            user=USER,
            postgres_options="-c listen_addresses=127.0.0.1",
        )
        with postgres:
            yield f"postgresql+asyncpg://{USER}@127.0.0.1:{postgres.port}/{USER}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_server_on_postgresql_runs_a_schedule(database, tmp_path):
    with server(tmp_path, PREFECT_API_DATABASE_CONNECTION_URL=database) as settings:
        toy = make_toy(tmp_path, settings)
        toy.source(right=180)
        toy.run("pricecut", "schedule", "toy", "--cron", "0 3 * * *")
        with worker(toy):
            run = toy.start()
            wait_until(lambda: toy.state(run)[0] == "Released", 90, "the model is released")
        (listed,) = toy.schedules()
    assert listed["last"] == "Released: released v0.0.1: passes the gates; nothing was released before"
    assert toy.git("tag") == "toy@v0.0.1"
    assert not (tmp_path / "prefect/prefect.db").exists()
