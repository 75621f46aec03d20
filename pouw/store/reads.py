"""What one DID may read of itself. Every page goes backwards from a key, so rows that arrive never shift it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.rows import dict_row

from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool

Row = dict[str, Any]


def receipts(pool: Pool, did: str, before: tuple[int, int], limit: int) -> list[Row]:
    """Return the DID's accepted receipts before a batch's id and a receipt's in it, the newest batch first."""
    return _page(
        pool,
        """
        SELECT id, batch_id, receipt_nonce, challenge_nonce, proof_type, bytes_verified, result_ok, submitted_at
        FROM receipts WHERE client_did = %s AND (batch_id, id) < (%s, %s) ORDER BY batch_id DESC, id DESC LIMIT %s
        """,
        (did, *before, limit),
    )


def disputes(pool: Pool, did: str, before: int, limit: int) -> list[Row]:
    """Return the DID's disputes with an id below ``before``, the newest first."""
    return _page(
        pool,
        """
        SELECT id, subject, subject_id, claim, state, explanation, compensation_atoms::text AS compensation_atoms,
               filed_at, changed_at
        FROM disputes WHERE client_did = %s AND id < %s ORDER BY id DESC LIMIT %s
        """,
        (did, before, limit),
    )


def rewards(pool: Pool, did: str, before: int, limit: int) -> list[Row]:
    """Return the DID's rewards of epochs below ``before``, the newest first."""
    return _page(
        pool,
        """
        SELECT epoch, receipts, weight, raw_atoms::text AS raw_atoms, final_atoms::text AS final_atoms,
               allocated_atoms::text AS allocated_atoms, capped
        FROM rewards WHERE client_did = %s AND epoch < %s ORDER BY epoch DESC LIMIT %s
        """,
        (did, before, limit),
    )


def payouts(pool: Pool, did: str, before: int, limit: int) -> list[Row]:
    """Return the DID's payouts, of rewards and compensations, with an id below ``before``, the newest first."""
    return _page(
        pool,
        """
        SELECT id, epoch, dispute_id, atoms::text AS atoms, state, attempts, reference, changed_at
        FROM payouts WHERE client_did = %s AND id < %s ORDER BY id DESC LIMIT %s
        """,
        (did, before, limit),
    )


def batches(pool: Pool, did: str, before: int, limit: int) -> list[Row]:
    """Return the DID's batches with an id below ``before``, the newest first, each with its receipts.

    ``receipts`` holds the accepted nonces; ``rejections`` each refusal with index, nonce, reason, detail, fault.
    """
    return _page(
        pool,
        """
        SELECT b.id, b.batch_nonce, b.batch_digest, b.proven, b.accepted, b.rejected, b.submitted_at,
               ARRAY(SELECT encode(r.receipt_nonce, 'hex') FROM receipts r
                     WHERE r.client_did = b.client_did AND r.batch_id = b.id AND r.submitted_at = b.submitted_at
                     ORDER BY r.id) AS receipts,
               ARRAY(SELECT jsonb_build_object('index', j.item_index, 'receipt_nonce', encode(j.receipt_nonce, 'hex'),
                                               'reason', j.reason, 'detail', j.detail, 'fault', j.fault)
                     FROM rejections j WHERE j.batch_id = b.id ORDER BY j.item_index) AS rejections
        FROM batches b WHERE b.client_did = %s AND b.id < %s ORDER BY b.id DESC LIMIT %s
        """,
        (did, before, limit),
    )


def pending(pool: Pool, did: str) -> Row:
    """Return how many of the DID's receipts no closed epoch has counted yet: ``receipts``."""
    rows = _page(
        pool,
        """
        SELECT coalesce(sum(accepted), 0)::bigint AS receipts FROM batches
        WHERE client_did = %s AND submitted_at >= coalesce(
            (SELECT ends_at FROM epochs ORDER BY epoch DESC LIMIT 1), '-infinity')
        """,
        (did,),
    )
    return rows[0]


def rejections(
    pool: Pool,
    before: int,
    limit: int,
    *,
    did: str | None = None,
    reason: str | None = None,
    detail: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[Row]:
    """Return rejections with an id below ``before``, the newest first; times are unix seconds."""
    return _page(
        pool,
        """
        SELECT id, batch_id, client_did, proven, item_index AS index, receipt_nonce, reason, detail, fault, submitted_at
        FROM rejections
        WHERE id < %(before)s AND (%(did)s::text IS NULL OR client_did = %(did)s)
          AND (%(reason)s::text IS NULL OR reason = %(reason)s) AND (%(detail)s::text IS NULL OR detail = %(detail)s)
          AND submitted_at >= coalesce(to_timestamp(%(since)s), '-infinity')
          AND submitted_at < coalesce(to_timestamp(%(until)s), 'infinity')
        ORDER BY id DESC LIMIT %(limit)s
        """,
        {
            "before": before, "limit": limit, "did": did, "reason": reason, "detail": detail,
            "since": _moment(since), "until": _moment(until),
        },
    )  # fmt: skip


def refused_most(pool: Pool) -> list[Row]:
    """Return the DIDs with the most of the newest 5,000 rejections: ``did``, ``rejected``, ``proven`` of them."""
    return _page(
        pool,
        """
        SELECT client_did AS did, count(*) AS rejected, count(*) FILTER (WHERE proven) AS proven
        FROM (SELECT client_did, proven FROM rejections WHERE submitted_at > now() - interval '1 day'
              ORDER BY id DESC LIMIT 5000) AS newest
        GROUP BY client_did ORDER BY rejected DESC, did LIMIT 10
        """,
        (),
    )


def anomalies(
    pool: Pool, before: int, limit: int, *, did: str | None = None, epoch: int | None = None, kind: str | None = None
) -> list[Row]:
    """Return anomaly flags with an id below ``before``, the newest first."""
    return _page(
        pool,
        """
        SELECT id, epoch, client_did, kind, note, flagged_at FROM anomaly_flags
        WHERE id < %(before)s AND (%(did)s::text IS NULL OR client_did = %(did)s)
          AND (%(epoch)s::bigint IS NULL OR epoch = %(epoch)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
        ORDER BY id DESC LIMIT %(limit)s
        """,
        {"before": before, "limit": limit, "did": did, "epoch": epoch, "kind": kind},
    )


_MOST_SECONDS = 2**37  # far below the last moment that PostgreSQL knows


def _moment(seconds: int | None) -> int | None:
    return None if seconds is None else min(seconds, _MOST_SECONDS)


def _page(pool: Pool, query: LiteralString, values: tuple[Any, ...] | dict[str, Any]) -> list[Row]:
    with session(pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values).fetchall()
