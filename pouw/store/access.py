"""Who is blocked, and whose quota is another than the usual one. Every change is written to the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.store import audit_log
from pouw.store.pool import session

if TYPE_CHECKING:
    from datetime import datetime
    from ipaddress import IPv4Network, IPv6Network

    from pouw.store.pool import Pool

    Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Block:
    """A DID or a network that is kept out, until ``expires_at`` where there is one."""

    subject: str
    reason: str
    by: str
    since: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Override:
    """A DID's or a network's own quota."""

    subject: str
    per_minute: int
    reason: str
    by: str
    since: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Rules:
    """What is in force now."""

    blocked_networks: list[Network]
    network_quotas: dict[Network, int]
    did_quotas: dict[str, int]


def rules(pool: Pool) -> Rules:
    """Return the blocks of networks and all overrides that have not run out."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT network, NULL, NULL FROM blocked_networks WHERE expires_at IS NULL OR expires_at > now()
            UNION ALL
            SELECT network, client_did, per_minute FROM quota_overrides WHERE expires_at > now()
            """
        ).fetchall()
    return Rules(
        [network for network, _did, quota in rows if quota is None],
        {network: quota for network, _did, quota in rows if network is not None and quota is not None},
        {did: quota for _network, did, quota in rows if did is not None},
    )


def block(pool: Pool, subject: str | Network, reason: str, actor: str, expires_at: datetime | None) -> None:
    """Keep a DID or a network out; a block that it had before is replaced."""
    with session(pool) as connection, connection.transaction():
        if isinstance(subject, str):
            connection.execute(
                """
                INSERT INTO blocked_dids (did, reason, blocked_by, expires_at) VALUES (%s, %s, %s, %s)
                ON CONFLICT (did) DO UPDATE SET reason = excluded.reason, blocked_by = excluded.blocked_by,
                    blocked_at = now(), expires_at = excluded.expires_at
                """,
                (subject, reason, actor, expires_at),
            )
        else:
            connection.execute(
                """
                INSERT INTO blocked_networks (network, reason, blocked_by, expires_at) VALUES (%s, %s, %s, %s)
                ON CONFLICT (network) DO UPDATE SET reason = excluded.reason, blocked_by = excluded.blocked_by,
                    blocked_at = now(), expires_at = excluded.expires_at
                """,
                (subject, reason, actor, expires_at),
            )
        audit_log.write(
            connection, actor, "block.set", str(subject), {"reason": reason, "expires_at": _text(expires_at)}
        )


def lift_block(pool: Pool, subject: str | Network, actor: str) -> bool:
    """Let a DID or a network in again; False where it was not blocked."""
    with session(pool) as connection, connection.transaction():
        cursor = (
            connection.execute("DELETE FROM blocked_dids WHERE did = %s", (subject,))
            if isinstance(subject, str)
            else connection.execute("DELETE FROM blocked_networks WHERE network = %s", (subject,))
        )
        if cursor.rowcount == 0:
            return False
        audit_log.write(connection, actor, "block.lift", str(subject))
    return True


def blocks(pool: Pool) -> list[Block]:
    """Return every block that has not run out, the newest first."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT did, reason, blocked_by, blocked_at, expires_at FROM blocked_dids
            WHERE expires_at IS NULL OR expires_at > now()
            UNION ALL
            SELECT network::text, reason, blocked_by, blocked_at, expires_at FROM blocked_networks
            WHERE expires_at IS NULL OR expires_at > now()
            ORDER BY 4 DESC, 1
            """
        ).fetchall()
    return [Block(*row) for row in rows]


def set_quota(
    pool: Pool, subject: str | Network, per_minute: int, reason: str, actor: str, expires_at: datetime
) -> None:
    """Give a DID or a network its own quota; one that it had before is replaced."""
    did, network = (subject, None) if isinstance(subject, str) else (None, subject)
    with session(pool) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))", (str(subject),))
        connection.execute("DELETE FROM quota_overrides WHERE client_did = %s OR network = %s", (did, network))
        connection.execute(
            """
            INSERT INTO quota_overrides (client_did, network, per_minute, reason, set_by, expires_at)
            VALUES (%s, %s, %s, %s, %s, %s)
            """,
            (did, network, per_minute, reason, actor, expires_at),
        )
        note = {"per_minute": per_minute, "reason": reason, "expires_at": _text(expires_at)}
        audit_log.write(connection, actor, "quota.set", str(subject), note)


def lift_quota(pool: Pool, subject: str | Network, actor: str) -> bool:
    """Take a DID's or a network's own quota away; False where it has none."""
    did, network = (subject, None) if isinstance(subject, str) else (None, subject)
    with session(pool) as connection, connection.transaction():
        cursor = connection.execute("DELETE FROM quota_overrides WHERE client_did = %s OR network = %s", (did, network))
        if cursor.rowcount == 0:
            return False
        audit_log.write(connection, actor, "quota.lift", str(subject))
    return True


def quotas(pool: Pool) -> list[Override]:
    """Return every override that has not run out, the newest first."""
    with session(pool) as connection:
        rows = connection.execute(
            """
            SELECT coalesce(client_did, network::text), per_minute, reason, set_by, set_at, expires_at
            FROM quota_overrides WHERE expires_at > now() ORDER BY set_at DESC, id
            """
        ).fetchall()
    return [Override(*row) for row in rows]


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
