"""What is signed and not yet answered, in a SQLite file that survives ``kill -9`` and power loss."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.client.receipts import encode_items
from pouw.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pouw.client.receipts import SignedReceipt

_BATCH_NONCE_BYTES = 16
_BUSY_SECS = 30
_SCHEMA = """
CREATE TABLE IF NOT EXISTS receipt (id INTEGER PRIMARY KEY, item TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS owner (did TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS batch (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL, problem TEXT);
"""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch whose bytes are fixed: every attempt to send it sends these."""

    id: int
    body: bytes


def _take(path: str) -> int:
    """Lock a file for this process; the lock goes with the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OutboxError(f"The outbox {path.removesuffix('.lock')} is in use by another process") from None
    return descriptor


class Outbox:
    """A queue of signed receipts, and of the batches that they were sealed into.

    One process at a time, and one DID for ever: :class:`pouw.errors.OutboxError` says which does not hold.
    """

    def __init__(self, path: Path | str, did: str) -> None:
        self._did = did
        self._lock = threading.Lock()
        self._file = _take(f"{path}.lock")
        self._db = sqlite3.connect(path, timeout=_BUSY_SECS, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        with self._transaction() as db:
            owner = db.execute("SELECT did FROM owner").fetchone()
            if owner is None:
                db.execute("INSERT INTO owner (did) VALUES (?)", (did,))
        if owner is not None and owner[0] != did:
            self.close()
            raise OutboxError(f"The outbox {path} belongs to {owner[0]}; choose another file")

    def add(self, receipt: SignedReceipt) -> int:
        """Keep a signed receipt; return how many are waiting to be sealed."""
        with self._transaction() as db:
            db.execute("INSERT INTO receipt (item) VALUES (?)", (json.dumps(receipt.to_json()),))
            return self._count(db)

    def waiting(self) -> int:
        """Return how many receipts are not sealed into a batch yet."""
        with self._lock:
            return self._count(self._db)

    def seal(self, most: int) -> Sealed | None:
        """Move the ``most`` oldest receipts into a batch with a nonce of its own; None where there is none."""
        with self._transaction() as db:
            rows = db.execute("SELECT id, item FROM receipt ORDER BY id LIMIT ?", (most,)).fetchall()
            if not rows:
                return None
            items = [json.loads(row[1]) for row in rows]
            body = encode_items(self._did, secrets.token_bytes(_BATCH_NONCE_BYTES), items)
            number = db.execute("INSERT INTO batch (body) VALUES (?)", (body,)).lastrowid
            db.execute("DELETE FROM receipt WHERE id <= ?", (rows[-1][0],))
        assert number is not None  # noqa: S101 - an INSERT has a row id
        return Sealed(number, body)

    def unanswered(self) -> list[Sealed]:
        """Return the sealed batches that no node has answered, the oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT id, body FROM batch WHERE problem IS NULL ORDER BY id").fetchall()
        return [Sealed(*row) for row in rows]

    def answered(self, sealed: Sealed) -> None:
        """Forget a batch that was answered."""
        with self._transaction() as db:
            db.execute("DELETE FROM batch WHERE id = ?", (sealed.id,))

    def refused(self, sealed: Sealed, problem: str) -> None:
        """Set a batch aside that a node refused for good; it stays in the file for a person to look at."""
        with self._transaction() as db:
            db.execute("UPDATE batch SET problem = ? WHERE id = ?", (problem, sealed.id))

    def close(self) -> None:
        """Close the file."""
        self._db.close()
        os.close(self._file)

    @staticmethod
    def _count(db: sqlite3.Connection) -> int:
        count: int = db.execute("SELECT count(*) FROM receipt").fetchone()[0]
        return count

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
