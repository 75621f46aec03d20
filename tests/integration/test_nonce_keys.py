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


def old_name(nonce: bytes = NONCE) -> bytes:
    return hashlib.sha256(DID.encode() + b"\0" + nonce).digest()


def new_name(nonce: bytes = NONCE) -> bytes:
    return nonce_keys(DID, [nonce])[0]


class Schema:
    """A database, whose schema goes up and down by that migration. Ends are in seconds from when it was made."""

    def __init__(self, db: psycopg.Connection[Any], url: str, files: Path) -> None:
        self.db, self._url, self._files = db, url, files
        self._now = int(time.time())

    def go(self, command: migrations.Command = "up") -> None:
        migrations.run(self._url, command, files=self._files)

    def change(self, old: str, new: str) -> None:
        """Put another text into the migration."""
        text = (self._files / MIGRATION).read_text()
        assert text.count(old) == 1
        (self._files / MIGRATION).write_text(text.replace(old, new))

    def credit(
        self, challenge: bytes, end: int, *, nonce: bytes = NONCE, by: psycopg.Connection[Any] | None = None
    ) -> None:
        """Write a receipt as if it had been credited under a challenge, whose end may be past."""
        db = by or self.db
        db.execute(
            "INSERT INTO challenges (nonce, task_id, issued_at, expires_at, max_receipts, max_bytes_total,"
            " min_bytes_per_receipt, allowed_proof_types) VALUES (%b, 't', %s, %s, 9, 9, 1, '{0}')",
            (challenge, self._now - 90_000, self._now + end),
        )
        db.execute(
            "INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,"
            " result_ok, body, signature, submitted_at) VALUES (1, %s, %b, %b, 0, 1, true, '', '', now())",
            (DID, nonce, challenge),
        )

    def claim(self, name: bytes, end: int, *, by: psycopg.Connection[Any] | None = None) -> None:
        (by or self.db).execute("INSERT INTO nonces VALUES (%b, %s)", (name, self._now + end))

    def purge(self, name: bytes) -> None:
        assert self.db.execute("DELETE FROM nonces WHERE nonce = %b", (name,)).rowcount == 1

    def is_waited_for(self) -> bool:
        return self.db.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None

    def claimed(self) -> dict[bytes, int]:
        return {bytes(name): int(end) - self._now for name, end in self.db.execute("SELECT * FROM nonces")}


@pytest.fixture
def schema(empty_url: str, tmp_path: Path) -> Iterator[Schema]:
    """As it was before that migration."""
    every = Path(__file__).parents[2] / "migrations"
    for file in sorted(every.glob("*.sql")):
        if file.name < MIGRATION:
            shutil.copy(file, tmp_path)
    migrations.run(empty_url, "up", files=tmp_path)
    shutil.copy(every / MIGRATION, tmp_path)
    with psycopg.connect(empty_url, autocommit=True) as db:
        yield Schema(db, empty_url, tmp_path)


@pytest.mark.parametrize("first", [b"a", b"z"])
def test_a_nonce_that_was_used_again_is_kept_for_as_long_as_its_last_challenge(schema: Schema, first: bytes) -> None:
    """Its DID may use it again once it was purged, an hour after its challenge; the receipt of then is still there."""
    schema.credit(first * 16, -7_200)
    schema.credit(b"m" * 16, 600)
    schema.claim(old_name(), 600)
    schema.go()
    assert schema.claimed() == {old_name(): 600, new_name(): 600}
    schema.go("down")
    assert schema.claimed()[old_name()] == 600


def test_a_row_that_the_way_there_left_gets_the_end_of_what_was_credited_since(schema: Schema) -> None:
    """One version's name was purged and used again while the other's was still there, which would go too early."""
    schema.credit(b"a" * 16, -3_000)
    schema.claim(old_name(), -3_000)
    schema.go()
    schema.purge(new_name())
    schema.credit(b"b" * 16, 600)
    schema.claim(new_name(), 600)
    schema.go("down")
    assert schema.claimed()[old_name()] == 600
    schema.purge(old_name())
    schema.credit(b"c" * 16, 1_200)
    schema.claim(old_name(), 1_200)
    schema.go()
    assert schema.claimed()[new_name()] == 1_200


def test_what_may_be_purged_is_left_out(schema: Schema) -> None:
    schema.credit(b"a" * 16, -7_200, nonce=b"1" * 16)
    schema.credit(b"b" * 16, -3_000, nonce=b"2" * 16)
    schema.credit(b"c" * 16, 0, nonce=b"3" * 16)
    schema.go()
    assert schema.claimed() == {new_name(b"2" * 16): -3_000, new_name(b"3" * 16): 0}
    schema.go("down")
    assert schema.claimed().keys() & {old_name(b"%d" % each * 16) for each in (1, 2, 3)} == {
        old_name(b"2" * 16),
        old_name(b"3" * 16),
    }


def test_a_commit_that_waits_for_however_long_is_waited_for(schema: Schema) -> None:
    """A standby may hold one up for longer than any timeout. Here, as if it had come in before what is read again."""
    schema.change("since := began - interval '21 minutes'", "since := 'infinity'")
    with psycopg.connect(schema.db.info.dsn, user=schema.db.info.user) as node, ThreadPoolExecutor(1) as thread:
        schema.credit(b"c" * 16, 600, by=node)
        schema.claim(old_name(), 600, by=node)
        moved = thread.submit(schema.go)
        wait_for(schema.is_waited_for)
        node.commit()
        moved.result(30)
    assert schema.claimed() == {old_name(): 600, new_name(): 600}


def test_a_call_that_read_nonces_before_goes_on_and_the_migration_after_it(schema: Schema) -> None:
    """A node settles a batch alone: it has looked nonces up, in the transaction in which it will write one."""
    with psycopg.connect(schema.db.info.dsn, user=schema.db.info.user) as node, ThreadPoolExecutor(1) as thread:
        node.execute("SELECT FROM nonces")
        moved = thread.submit(schema.go)
        wait_for(schema.is_waited_for)
        schema.credit(b"c" * 16, 600, by=node)
        schema.claim(old_name(), 600, by=node)
        node.commit()
        moved.result(30)
    assert schema.claimed() == {old_name(): 600, new_name(): 600}


@pytest.mark.parametrize("command", ["up", "down"])
def test_the_other_versions_name_is_refused_afterwards(schema: Schema, command: migrations.Command) -> None:
    """So does a call that began before and ends after, of a node that is gone."""
    schema.go()
    if command == "down":
        schema.go("down")
    with pytest.raises(psycopg.errors.CheckViolation):
        schema.claim(old_name() if command == "up" else new_name(), 1)
    schema.claim(new_name() if command == "up" else old_name(), 1)
