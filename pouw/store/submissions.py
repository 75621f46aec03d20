"""The transaction of a submitted batch, and the reads before it.

Three round trips whatever the batch's size: what is known (:func:`look_up`), what is taken (:func:`settle`,
first half), what is written and committed (second half). The order of locks is the same for every batch, the
batch nonce, then challenges by nonce, then nonces in order, so that batches wait for each other and never in
a circle.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from pouw.errors import BatchConflict, EpochClosed, StoreError, StoreUnavailable, VerdictGone
from pouw.store.challenges import Challenge
from pouw.store.epochs import enter
from pouw.store.partitions import make_partitions
from pouw.store.pool import session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw.protocol.verdicts import Rejection
    from pouw.store.epochs import Calendar
    from pouw.store.pool import Pool

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What identifies a batch: its DID, the nonce that the client gave it, if any, and its content."""

    client_did: str
    batch_nonce: bytes | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """A DID's live key. ``age`` is in seconds."""

    public_key: bytes
    age: float


@dataclass(frozen=True, slots=True)
class Used:
    """How much of a challenge's budget is spent."""

    receipts: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows before a batch is judged."""

    first_answer: bytes | None
    challenges: dict[bytes, Challenge]
    used: dict[bytes, Used]
    taken: set[bytes]
    blocked: bool
    identity: Identity | None


@dataclass(frozen=True, slots=True)
class Claim:
    """One receipt that passed every check and asks to be credited."""

    nonce_digest: bytes
    receipt_nonce: bytes
    challenge_nonce: bytes
    challenge_expires_at: int
    proof_type: int
    bytes_verified: int
    result_ok: bool
    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch comes to once the database's state is known."""

    credited: Sequence[Claim]
    rejected: Sequence[Rejection]
    answer: bytes


def nonce_digest(client_did: str, receipt_nonce: bytes) -> bytes:
    """Return the 32 bytes under which a receipt's nonce is claimed: no two DIDs share one."""
    return hashlib.sha256(b"%s\0%s" % (client_did.encode(), receipt_nonce)).digest()


def look_up(pool: Pool, key: BatchKey, challenge_nonces: list[bytes], nonce_digests: list[bytes]) -> Known:
    """Read what judging a batch needs, in one round trip and without a lock.

    Raises :class:`BatchConflict` where this DID used the batch nonce for another content.
    """
    with session(pool) as connection, connection.pipeline():
        answer = _select_answer(connection, key)
        challenges = connection.execute(
            """
            SELECT nonce, task_id, bound_did, issued_at, expires_at, max_receipts, max_bytes_total,
                   min_bytes_per_receipt, allowed_proof_types, receipts_used, bytes_used
            FROM challenges WHERE nonce = ANY(%b)
            """,
            (challenge_nonces,),
        )
        taken = _select_taken(connection, nonce_digests)
        blocked = connection.execute(
            "SELECT 1 FROM blocked_dids WHERE did = %s AND (expires_at IS NULL OR expires_at > now())",
            (key.client_did,),
        )
        identity = connection.execute(
            """
            SELECT public_key, extract(epoch FROM now() - created_at)::float8
            FROM identities WHERE did = %s AND retired_at IS NULL
            """,
            (key.client_did,),
        )
        found = identity.fetchone()
        first_answer, rows = _read_answer(answer, key), challenges.fetchall()
        return Known(
            first_answer=first_answer,
            challenges={row[0]: _challenge(row) for row in rows},
            used={row[0]: Used(*row[-2:]) for row in rows},
            taken={row[0] for row in taken},
            blocked=blocked.fetchone() is not None,
            identity=None if found is None else Identity(*found),
        )


def _challenge(row: TupleRow) -> Challenge:
    *columns, allowed, _receipts_used, _bytes_used = row
    return Challenge(*(*columns, frozenset(allowed)))


def settle(
    pool: Pool,
    calendar: Calendar,
    key: BatchKey,
    *,
    proven: bool,
    claims: Sequence[Claim],
    taken: set[bytes],
    decide: Callable[[set[bytes], dict[bytes, Used]], Outcome],
) -> tuple[bytes, Outcome | None]:
    """Decide a batch and commit it; return the answer, and the outcome unless another request settled it first.

    ``decide`` gets the nonce digests that are already taken and what is used of each challenge, the latter under
    locks that keep it true until the commit. The first attempt relies on ``taken``, read before; where another
    batch took a nonce meanwhile, the unique index says so, and the next attempt reads them again.

    Raises :class:`BatchConflict` as :func:`look_up` does, and :class:`StoreUnavailable` where the database
    is out of reach: then nothing is known of the commit, and the client has to ask again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with session(pool) as connection:
                known = taken if attempt == 0 else None
                return _settle_once(connection, calendar, key, proven, claims, known, decide)
        except StoreError as error:
            if isinstance(error.__cause__, psycopg.errors.CheckViolation):
                make_partitions(pool)  # the background process did not: this day has no partition yet
            elif not isinstance(error, EpochClosed) and not isinstance(error.__cause__, _RACES):
                raise
    raise StoreUnavailable("The database is too contended to settle this batch.")


_RACES = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
"""What another batch's commit can cause. The next attempt sees that commit."""


def _settle_once(
    connection: Connection[TupleRow],
    calendar: Calendar,
    key: BatchKey,
    proven: bool,
    claims: Sequence[Claim],
    taken: set[bytes] | None,
    decide: Callable[[set[bytes], dict[bytes, Used]], Outcome],
) -> tuple[bytes, Outcome | None]:
    with connection.pipeline(), connection.transaction():
        if key.batch_nonce is not None:
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                (f"{key.client_did} {key.batch_nonce.hex()}",),
            )
        answer = _select_answer(connection, key)
        used = connection.execute(
            """
            SELECT nonce, receipts_used, bytes_used FROM challenges
            WHERE nonce = ANY(%b) AND expires_at > extract(epoch FROM now()) - 600 ORDER BY nonce FOR UPDATE
            """,  # by the database's clock too: longer after its end, a challenge's nonces may be purged
            (list({claim.challenge_nonce for claim in claims}),),
        )
        again = _select_taken(connection, [claim.nonce_digest for claim in claims]) if taken is None else ()
        enter(connection, calendar)
        now = connection.execute(
            # After the lock, so that it sees who closed it; epochs are closed in order, so the last one tells.
            "SELECT now(), coalesce((SELECT ends_at > now() FROM epochs ORDER BY epoch DESC LIMIT 1), false)"
        )
        first = _read_answer(answer, key)
        if first is not None:
            return first, None
        submitted_at: datetime
        submitted_at, closed = now.fetchone()  # type: ignore[misc]  # a SELECT without FROM has a row
        if closed:
            raise EpochClosed("The epoch was closed meanwhile.")
        outcome = decide(taken or {row[0] for row in again}, {row[0]: Used(row[1], row[2]) for row in used})
        _write(connection, key, proven, outcome, submitted_at)
    return outcome.answer, outcome


def _select_taken(connection: Connection[TupleRow], nonce_digests: list[bytes]) -> psycopg.Cursor[TupleRow]:
    return connection.execute("SELECT nonce FROM nonces WHERE nonce = ANY(%b)", (nonce_digests,))


def _select_answer(connection: Connection[TupleRow], key: BatchKey) -> psycopg.Cursor[TupleRow]:
    return connection.execute(
        """
        SELECT batch_digest, answer FROM batches
        WHERE client_did = %s AND batch_nonce = %b AND (proven OR batch_digest = %b)
        ORDER BY batch_digest = %b DESC, id LIMIT 1
        """,
        (key.client_did, key.batch_nonce, key.digest, key.digest),
    )


def _read_answer(cursor: psycopg.Cursor[TupleRow], key: BatchKey) -> bytes | None:
    row = cursor.fetchone()
    if row is None:
        return None
    if row[0] != key.digest:
        raise BatchConflict("This batch nonce was used for a batch with other content.")
    answer: bytes | None = row[1]
    if answer is None:
        raise VerdictGone("This batch was answered, and its verdict is not kept any more.")
    return answer


def _write(
    connection: Connection[TupleRow], key: BatchKey, proven: bool, outcome: Outcome, submitted_at: datetime
) -> None:
    credited = sorted(outcome.credited, key=lambda claim: claim.nonce_digest)
    connection.execute(
        "INSERT INTO nonces (nonce, expires_at) SELECT nonce, expires_at FROM unnest(%b::bytea[], %b::bigint[])"
        " AS claimed (nonce, expires_at)",
        ([c.nonce_digest for c in credited], [c.challenge_expires_at for c in credited]),
    )
    connection.execute(
        """
        UPDATE challenges SET receipts_used = receipts_used + spent.receipts, bytes_used = bytes_used + spent.bytes
        FROM unnest(%b::bytea[], %b::bigint[], %b::bigint[]) AS spent (nonce, receipts, bytes)
        WHERE challenges.nonce = spent.nonce
        """,
        _spent(outcome.credited),
    )
    connection.execute(
        """
        WITH batch AS (
            INSERT INTO batches (client_did, batch_nonce, batch_digest, proven, accepted, rejected, answer,
                                 submitted_at)
            VALUES (%(did)s, %(batch_nonce)b, %(digest)b, %(proven)s, %(accepted)s, %(rejected)s, %(answer)b, %(at)s)
            RETURNING id
        ), rejection AS (
            INSERT INTO rejections (batch_id, client_did, proven, item_index, receipt_nonce, reason, detail, fault,
                                    submitted_at)
            SELECT batch.id, %(did)s, %(proven)s, item_index, receipt_nonce, reason, detail, fault, %(at)s
            FROM batch, unnest(%(r_index)b::integer[], %(r_nonce)b::bytea[], %(r_reason)s::text[],
                               %(r_detail)s::text[], %(r_fault)s::text[])
                 AS item (item_index, receipt_nonce, reason, detail, fault)
        )
        INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,
                              result_ok, body, signature, submitted_at)
        SELECT batch.id, %(did)s, receipt_nonce, challenge_nonce, proof_type, bytes_verified, result_ok, body,
               signature, %(at)s
        FROM batch, unnest(%(a_nonce)b::bytea[], %(a_challenge)b::bytea[], %(a_type)b::smallint[],
                           %(a_bytes)b::bigint[], %(a_ok)b::boolean[], %(a_body)b::bytea[], %(a_signature)b::bytea[])
             AS item (receipt_nonce, challenge_nonce, proof_type, bytes_verified, result_ok, body, signature)
        """,
        _rows(key, proven, outcome, submitted_at),
    )


def _spent(credited: Sequence[Claim]) -> tuple[list[bytes], list[int], list[int]]:
    receipts: dict[bytes, int] = {}
    size: dict[bytes, int] = {}
    for claim in credited:
        receipts[claim.challenge_nonce] = receipts.get(claim.challenge_nonce, 0) + 1
        size[claim.challenge_nonce] = size.get(claim.challenge_nonce, 0) + claim.bytes_verified
    return list(receipts), list(receipts.values()), list(size.values())


def _rows(key: BatchKey, proven: bool, outcome: Outcome, submitted_at: datetime) -> dict[str, Any]:
    credited, rejected = outcome.credited, outcome.rejected
    return {
        "did": key.client_did,
        "batch_nonce": key.batch_nonce,
        "digest": key.digest,
        "proven": proven,
        "accepted": len(credited),
        "rejected": len(rejected),
        "answer": None if key.batch_nonce is None else outcome.answer,
        "at": submitted_at,
        "r_index": [r.index for r in rejected],
        "r_nonce": [r.receipt_nonce for r in rejected],
        "r_reason": [r.detail.reason.value for r in rejected],
        "r_detail": [r.detail.value for r in rejected],
        "r_fault": [r.fault for r in rejected],
        "a_nonce": [c.receipt_nonce for c in credited],
        "a_challenge": [c.challenge_nonce for c in credited],
        "a_type": [c.proof_type for c in credited],
        "a_bytes": [c.bytes_verified for c in credited],
        "a_ok": [c.result_ok for c in credited],
        "a_body": [c.body for c in credited],
        "a_signature": [c.signature for c in credited],
    }
