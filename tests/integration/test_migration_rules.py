"""What every migration keeps to: short locks, and nothing taken away that the previous version needs."""

from __future__ import annotations

import re
import shutil
import threading
import time
from typing import TYPE_CHECKING, Self

import psycopg
import pytest
from psycopg import sql

from pouw.errors import MigrationError
from pouw.store import migrations
from tests.integration.test_migrations import empty_url as empty_url  # noqa: PLC0414 - a fixture
from tests.schema import FILES, applied, contracts

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_WAIT_SECS = 2.0


class Writers:
    """Takes, again and again, the lock of whoever writes on each table there is, and notes the longest wait."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self.longest = 0.0
        self.locks = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._ended.is_set():
                rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
                for (table,) in rows:
                    self._lock(connection, str(table))
                time.sleep(0.002)

    def _lock(self, connection: psycopg.Connection[tuple[object, ...]], table: str) -> None:
        start = time.monotonic()
        try:
            with connection.transaction():
                connection.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(sql.Identifier(table)))
        except psycopg.errors.UndefinedTable:
            pass  # the migration that was waited for dropped it
        self.longest = max(self.longest, time.monotonic() - start)
        self.locks += 1


def test_no_migration_keeps_writers_waiting_up_or_down(empty_url: str, tmp_path: Path) -> None:
    """Each is applied, undone and applied again while writers come and go on every table."""
    waits: dict[str, float] = {}
    for file in FILES:
        shutil.copy(file, tmp_path)
        with Writers(empty_url) as writers:
            for step in ("up", "down", "up"):
                migrations.run(empty_url, step, files=tmp_path)
        waits[file.name] = writers.longest
        assert writers.locks > 0 or file == FILES[0]
    assert max(waits.values()) < LONGEST_WAIT_SECS, waits


def test_a_migration_that_holds_a_lock_for_long_would_be_seen(empty_url: str, tmp_path: Path) -> None:
    shutil.copy(FILES[0], tmp_path)
    migrations.run(empty_url, "up", files=tmp_path)
    (tmp_path / "20991231000001_long.sql").write_text(
        "-- migrate:up\nALTER TABLE receipts ADD COLUMN x integer;\nSELECT pg_sleep(2.5);\n-- migrate:down\n"
    )
    with Writers(empty_url) as writers:
        migrations.run(empty_url, "up", files=tmp_path)
    assert writers.longest > LONGEST_WAIT_SECS


def test_a_migration_that_does_not_get_its_locks_gives_up_and_changes_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """Somebody reads for hours; the migration waits for its lock timeout, and is tried again later."""
    for file in FILES:
        shutil.copy(file, tmp_path)
    (tmp_path / "20991231000001_wide.sql").write_text(
        "-- migrate:up\nSET LOCAL lock_timeout = '1s';\nALTER TABLE receipts ADD COLUMN x integer;\n"
        "-- migrate:down\nSET LOCAL lock_timeout = '1s';\nALTER TABLE receipts DROP COLUMN x;\n"
    )
    for step in ("up", "down"):
        before = applied(database_url)
        with psycopg.connect(database_url) as reader:
            reader.execute("LOCK TABLE receipts IN ACCESS SHARE MODE")
            started = time.monotonic()
            with pytest.raises(MigrationError, match="lock timeout"):
                migrations.run(database_url, step, files=tmp_path)
            assert time.monotonic() - started < 15
        assert applied(database_url) == before
        migrations.run(database_url, step, files=tmp_path)
        assert applied(database_url) != before


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_every_migration_waits_for_locks_for_seconds_only(file: Path) -> None:
    up, down = file.read_text().split("-- migrate:down")
    for half in (up, down):
        assert re.search(r"^SET LOCAL lock_timeout = '[1-5]s';$", half, re.MULTILINE)


_TAKES_AWAY = re.compile(
    r"\b(?:DROP(?! CONSTRAINT \w+_check\b)|RENAME|TRUNCATE|SET NOT NULL|ALTER COLUMN \w+ (?:SET DATA )?TYPE)\b"
    r"|ADD COLUMN [^,;]*NOT NULL(?![^,;]*DEFAULT)",
    re.IGNORECASE,
)


def takes_away(statements: str) -> list[str]:
    """Return what would break a version that knows nothing of it."""
    return _TAKES_AWAY.findall(re.sub(r"--.*", "", statements))


@pytest.mark.parametrize(
    ("statement", "takes"),
    [
        ("ALTER TABLE a DROP COLUMN b;", True),
        ("ALTER TABLE a RENAME COLUMN b TO c;", True),
        ("ALTER TABLE a ALTER COLUMN b TYPE bigint;", True),
        ("ALTER TABLE a ALTER COLUMN b SET NOT NULL;", True),
        ("ALTER TABLE a ADD COLUMN b integer NOT NULL;", True),
        ("DROP FUNCTION f;", True),
        ("ALTER TABLE a DROP CONSTRAINT a_b_key;", True),
        ("ALTER TABLE a DROP CONSTRAINT a_b_check;", False),
        ("ALTER TABLE a ADD COLUMN b integer NOT NULL DEFAULT 0;", False),
        ("ALTER TABLE a ADD COLUMN b integer, ADD COLUMN c text;", False),
        ("CREATE TABLE a (b integer NOT NULL); -- DROP nothing", False),
    ],
)
def test_what_takes_away_is_told_from_what_adds(statement: str, takes: bool) -> None:
    assert bool(takes_away(statement)) is takes


@pytest.mark.parametrize(
    "file", [each for each in FILES if each.name[:14] > migrations.FLOOR], ids=lambda file: str(file.name)
)
def test_a_migration_only_adds_unless_it_says_what_it_completes(file: Path) -> None:
    """One that takes away begins with `-- contract: VERSION`, the migration after which nothing used it any more."""
    completed = contracts(file)
    if completed is not None:
        assert any(each.name.startswith(completed) and each.name < file.name for each in FILES)
    else:
        assert takes_away(file.read_text().split("-- migrate:down")[0]) == []
