"""Anomaly flags: what an operator should look at. A flag never takes money away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool

STREAK_EPOCHS = 12
GROWTH_FACTOR = 3
_HISTORY_EPOCHS = 168


def flag(pool: Pool, epoch: int) -> int:
    """Flag the DIDs of a closed epoch; return how many flags are new. Flagging twice changes nothing.

    ``cap_streak``: the cap was hit 12 epochs in a row. ``sudden_growth``: the weighted count is above 3 times the DID's
    own average over the 168 epochs before. ``minimum_bytes``: every receipt has exactly the bytes that are just enough.
    """
    with session(pool) as connection:
        return connection.execute(
            """
            WITH present AS (
                SELECT client_did, receipts, weight, capped, at_minimum FROM rewards WHERE epoch = %(epoch)s
            ), found AS (
                SELECT client_did, 'minimum_bytes' AS kind, jsonb_build_object('receipts', receipts) AS note
                FROM present WHERE at_minimum = receipts
                UNION ALL
                SELECT p.client_did, 'cap_streak', jsonb_build_object('epochs', %(streak)s::int)
                FROM present p WHERE p.capped AND (
                    SELECT count(*) FROM rewards r
                    WHERE r.client_did = p.client_did AND r.epoch BETWEEN %(epoch)s - %(streak)s + 1 AND %(epoch)s
                      AND r.capped) = %(streak)s
                UNION ALL
                SELECT p.client_did, 'sudden_growth',
                       jsonb_build_object('weight', p.weight, 'average', round(before.average, 3)::text)
                FROM present p CROSS JOIN LATERAL (
                    SELECT avg(r.weight) AS average FROM rewards r
                    WHERE r.client_did = p.client_did AND r.epoch BETWEEN %(epoch)s - %(history)s AND %(epoch)s - 1
                ) before
                WHERE p.weight > %(factor)s * before.average
            )
            INSERT INTO anomaly_flags (epoch, client_did, kind, note)
            SELECT %(epoch)s, client_did, kind, note FROM found
            ON CONFLICT DO NOTHING
            """,
            {"epoch": epoch, "streak": STREAK_EPOCHS, "factor": GROWTH_FACTOR, "history": _HISTORY_EPOCHS},
        ).rowcount
