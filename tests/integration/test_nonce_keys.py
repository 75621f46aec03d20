"""The migration that names nonces anew: what can still be used is kept out afterwards, and for as long as before."""

from __future__ import annotations

import hashlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pouw.store import migrations
from pouw.store.submissions import nonce_keys
from tests.integration.test_migrations import empty_url as empty_url  # noqa: PLC0414 - a fixture
from tests.support import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATION = "20261129000014_nonces_by_client.sql"
DID, NONCE = "did:x:1", b"n" * 32
NOW = int(time.time())


def old_name(nonce: bytes = NONCE) -> bytes:
    return hashlib.sha256(DID.encode() + b"\0" + nonce).digest()


def new_name(nonce: bytes = NONCE) -> bytes:
    return nonce_keys(DID, [nonce])[0]


@pytest.fixture
def earlier(empty_url: str, tmp_path: Path) -> Iterator[tuple[psycopg.Connection[Any], Path]]:
    """A database with the schema before that migration, and the folder of all up to it."""
    for file in sorted((Path(__file__).parents[2] / "migrations").glob("*.sql")):
        if file.name < MIGRATION:
            shutil.copy(file, tmp_path)
    migrations.run(empty_url, "up", files=tmp_path)
    shutil.copy(Path(__file__).parents[2] / "migrations" / MIGRATION, tmp_path)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        yield connection, tmp_path


def credit(db: psycopg.Connection[Any], challenge: bytes, expires_in: int, *, nonce: bytes = NONCE) -> None:
    """Write a receipt as if it had been credited under a challenge, whose end may be past."""
    db.execute(
        "INSERT INTO challenges (nonce, task_id, issued_at, expires_at, max_receipts, max_bytes_total,"
        " min_bytes_per_receipt, allowed_proof_types) VALUES (%b, 't', %s, %s, 9, 9, 1, '{0}')",
        (challenge, NOW - 90_000, NOW + expires_in),
    )
    db.execute(
        "INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,"
        " result_ok, body, signature, submitted_at) VALUES (1, %s, %b, %b, 0, 1, true, '', '', now())",
        (DID, nonce, challenge),
    )


def claimed(db: psycopg.Connection[Any]) -> dict[bytes, int]:
    return {bytes(nonce): int(expires_at) - NOW for nonce, expires_at in db.execute("SELECT * FROM nonces")}


def migrate(db: psycopg.Connection[Any], files: Path, command: migrations.Command = "up") -> None:
    url = f"postgresql://{db.info.user}@/{db.info.dbname}?host={db.info.host}&port={db.info.port}"
    migrations.run(url, command, files=files)


@pytest.mark.parametrize("first", [b"a", b"z"])
def test_a_nonce_that_was_used_again_is_kept_for_as_long_as_its_last_challenge(
    earlier: tuple[psycopg.Connection[Any], Path], first: bytes
) -> None:
    """Its DID may use it again once it was purged, an hour after its challenge; the receipt of then is still there."""
    db, files = earlier
    credit(db, first * 16, -7_200)
    credit(db, b"m" * 16, 600)
    db.execute("INSERT INTO nonces VALUES (%b, %s)", (old_name(), NOW + 600))
    migrate(db, files)
    assert claimed(db) == {old_name(): 600, new_name(): 600}
    migrate(db, files, "down")
    assert claimed(db)[old_name()] == 600


def test_a_row_that_the_way_there_left_gets_the_end_of_what_was_credited_since(
    earlier: tuple[psycopg.Connection[Any], Path],
) -> None:
    """One version's name was purged and used again while the other's was still there, which would go too early."""
    db, files = earlier
    credit(db, b"a" * 16, -3_590)
    db.execute("INSERT INTO nonces VALUES (%b, %s)", (old_name(), NOW - 3_590))
    migrate(db, files)
    db.execute("DELETE FROM nonces WHERE nonce = %b", (new_name(),))
    credit(db, b"b" * 16, 600)
    db.execute("INSERT INTO nonces VALUES (%b, %s)", (new_name(), NOW + 600))
    migrate(db, files, "down")
    assert claimed(db)[old_name()] == 600
    db.execute("DELETE FROM nonces WHERE nonce = %b", (old_name(),))
    credit(db, b"c" * 16, 1_200)
    db.execute("INSERT INTO nonces VALUES (%b, %s)", (old_name(), NOW + 1_200))
    migrate(db, files)
    assert claimed(db)[new_name()] == 1_200


def test_what_no_challenge_takes_any_more_is_left_out_once_it_may_be_purged(
    earlier: tuple[psycopg.Connection[Any], Path],
) -> None:
    db, files = earlier
    credit(db, b"a" * 16, -7_200, nonce=b"1" * 16)
    credit(db, b"b" * 16, -3_000, nonce=b"2" * 16)
    credit(db, b"c" * 16, 0, nonce=b"3" * 16)
    migrate(db, files)
    assert claimed(db) == {new_name(b"2" * 16): -3_000, new_name(b"3" * 16): 0}
    migrate(db, files, "down")
    assert claimed(db).keys() >= {old_name(b"2" * 16), old_name(b"3" * 16)}


def test_a_commit_that_waits_for_however_long_is_waited_for(earlier: tuple[psycopg.Connection[Any], Path]) -> None:
    """A standby may hold one up for longer than any timeout. Here, as if it had come in before what is read again."""
    db, files = earlier
    text = (files / MIGRATION).read_text()
    assert "since := began - interval '21 minutes'" in text
    (files / MIGRATION).write_text(text.replace("began - interval '21 minutes'", "'infinity'"))
    with psycopg.connect(db.info.dsn, user=db.info.user) as node, ThreadPoolExecutor(1) as thread:
        credit(node, b"c" * 16, 600)
        node.execute("INSERT INTO nonces VALUES (%b, %s)", (old_name(), NOW + 600))
        moved = thread.submit(migrate, db, files)
        wait_for(lambda: db.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None)
        node.commit()
        moved.result(30)
    assert claimed(db) == {old_name(): 600, new_name(): 600}


def test_a_call_that_read_nonces_before_goes_on_and_the_migration_after_it(
    earlier: tuple[psycopg.Connection[Any], Path],
) -> None:
    """A node settles a batch alone: it has looked nonces up, in the transaction in which it will write one."""
    db, files = earlier
    with psycopg.connect(db.info.dsn, user=db.info.user) as node, ThreadPoolExecutor(1) as thread:
        node.execute("SELECT FROM nonces")
        moved = thread.submit(migrate, db, files)
        wait_for(lambda: db.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None)
        credit(node, b"c" * 16, 600)
        node.execute("INSERT INTO nonces VALUES (%b, %s)", (old_name(), NOW + 600))
        node.commit()
        moved.result(30)
    assert claimed(db) == {old_name(): 600, new_name(): 600}


@pytest.mark.parametrize("command", ["up", "down"])
def test_the_other_versions_name_is_refused_afterwards(
    earlier: tuple[psycopg.Connection[Any], Path], command: migrations.Command
) -> None:
    """So does a call that began before and ends after, of a node that is gone."""
    db, files = earlier
    migrate(db, files)
    if command == "down":
        migrate(db, files, "down")
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute("INSERT INTO nonces VALUES (%b, 1)", (old_name() if command == "up" else new_name(),))
    db.execute("INSERT INTO nonces VALUES (%b, 1)", (new_name() if command == "up" else old_name(),))
