"""Looking for promises that were broken, in samples and sums that cost little; see ``docs/monitoring.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.store import payouts
from pouw.store.nonces import KEY
from pouw.store.pool import session
from pouw.store.retention import NONCE_SURE_SECS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pouw.store.pool import Pool

_MOST_MS = 60_000
_MOST_EPOCH_MS = 600_000


@dataclass(frozen=True, slots=True)
class BatchFound:
    """A batch of the sample: what it was answered, and what the tables hold of it."""

    accepted: int
    rejected: int
    answer: bytes | None
    nonces: list[bytes]
    unclaimed: int
    rejections: int


@dataclass(frozen=True, slots=True)
class EpochFound:
    """A closed epoch: what its row says, and the sums of what belongs to it."""

    receipts: int
    allocated: int
    reward_receipts: int
    reward_atoms: int
    payout_atoms: int
    previous_manifest: str | None
    manifest: str


def newest_batch(pool: Pool) -> int:
    """Return the highest number of a batch; 0 before the first."""
    with session(pool) as connection:
        row = connection.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()
    assert row is not None  # noqa: S101 - an aggregate has a row
    return int(row[0])


def batches(pool: Pool, numbers: Sequence[int], within_secs: int) -> list[BatchFound]:
    """Return those of these batches that were settled within so many seconds, with what became of their receipts.

    A batch and its receipts have the same time, which names the only partition that may hold them. ``unclaimed`` are
    receipts whose nonce is not taken, although their challenge is too young for it to have been purged.
    """
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(_MOST_MS),))
        rows = connection.execute(
            f"""
            SELECT b.accepted, b.rejected, b.answer, found.nonces, found.unclaimed,
                   (SELECT count(*) FROM rejections AS x WHERE x.batch_id = b.id AND x.submitted_at = b.submitted_at)
            FROM batches AS b CROSS JOIN LATERAL (
                SELECT coalesce(array_agg(r.receipt_nonce), '{{}}') AS nonces,
                       count(*) FILTER (WHERE NOT EXISTS (
                           SELECT FROM nonces AS n
                           WHERE n.nonce = {KEY}
                       ) AND EXISTS (
                           SELECT FROM challenges AS c WHERE c.nonce = r.challenge_nonce
                           AND c.expires_at > extract(epoch FROM now()) - %(sure)s
                       )) AS unclaimed
                FROM receipts AS r
                WHERE r.client_did = b.client_did AND r.batch_id = b.id AND r.submitted_at = b.submitted_at
            ) AS found
            WHERE b.id = ANY(%(numbers)s) AND b.submitted_at > now() - make_interval(secs => %(within)s)
            """,  # noqa: S608 - our own expression
            {"numbers": list(numbers), "within": within_secs, "sure": NONCE_SURE_SECS},
        ).fetchall()
    return [BatchFound(*row) for row in rows]


def epoch(pool: Pool, number: int) -> EpochFound | None:
    """Return a closed epoch with its sums; None where it is not closed."""
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(_MOST_MS),))
        row = connection.execute(
            """
            SELECT e.receipts, e.allocated_atoms, r.receipts, r.atoms,
                   (SELECT coalesce(sum(atoms), 0) FROM payouts AS p WHERE p.epoch = e.epoch),
                   (SELECT manifest FROM epochs AS p WHERE p.epoch = e.epoch - 1), e.manifest
            FROM epochs AS e CROSS JOIN (
                SELECT coalesce(sum(receipts), 0)::bigint AS receipts, coalesce(sum(allocated_atoms), 0) AS atoms
                FROM rewards WHERE epoch = %(epoch)s
            ) AS r
            WHERE e.epoch = %(epoch)s
            """,
            {"epoch": number},
        ).fetchone()
    if row is None:
        return None
    receipts, allocated, reward_receipts, reward_atoms, payout_atoms, previous, manifest = row
    return EpochFound(
        receipts, int(allocated), reward_receipts, int(reward_atoms), int(payout_atoms), previous, manifest
    )


def credited_twice(pool: Pool, number: int) -> int:
    """Count what an epoch credited again: once for each epoch, as much work as closing it.

    That is a DID's nonce under the same challenge, or under another within the time for which nonces are kept for
    certain; later its DID may use it again.
    """
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(_MOST_EPOCH_MS),))
        row = connection.execute(
            """
            SELECT count(*) FROM (
                SELECT r.challenge_nonce = lag(r.challenge_nonce) OVER uses AS same,
                       r.submitted_at - lag(r.submitted_at) OVER uses AS later
                FROM epochs AS e
                JOIN receipts AS r ON r.submitted_at >= e.starts_at AND r.submitted_at < e.ends_at
                WHERE e.epoch = %(epoch)s
                WINDOW uses AS (PARTITION BY r.client_did, r.receipt_nonce ORDER BY r.submitted_at)
            ) AS use
            WHERE same OR later < make_interval(secs => %(sure)s)
            """,
            {"epoch": number, "sure": NONCE_SURE_SECS},
        ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has a row
    return int(row[0])


def spent(pool: Pool) -> int:
    """Return what was allocated of the lifetime budget so far, in atoms."""
    with session(pool) as connection:
        return payouts.spent(connection)
