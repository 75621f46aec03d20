"""The migrations as files, and which of them a database has."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

FILES = sorted((Path(__file__).parents[1] / "migrations").glob("*.sql"))


def contracts(file: Path) -> str | None:
    """Return the version of the migration that this one completes, if it takes away what nobody needs after it."""
    found = re.search(r"^-- contract: (\d{14})$", file.read_text().split("-- migrate:down")[0], re.MULTILINE)
    return found[1] if found else None


def applied(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {str(row[0]) for row in connection.execute("SELECT version FROM schema_migrations").fetchall()}
