"""How long closing an epoch takes. The embedded PostgreSQL has fsync on and its default memory settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
from nacl.signing import SigningKey

from pouw.keys import NodeKey
from pouw.local.servers import LocalServers
from pouw.protocol.rewards import Terms
from pouw.protocol.types import ProofType
from pouw.service.epochs import Epochs
from pouw.settings import Settings
from pouw.store import migrations
from pouw.store.pool import open_pool

if TYPE_CHECKING:
    from pathlib import Path

_STEP = 1_000_000
_EPOCH_SECS = 86_400


def fill(url: str, receipts: int, dids: int) -> None:
    """Write receipts of the size of real ones, spread over the DIDs and the proof types."""
    with psycopg.connect(url, autocommit=True) as connection:
        for first in range(0, receipts, _STEP):
            connection.execute(
                """
                INSERT INTO receipts (batch_id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,
                                      result_ok, body, signature, submitted_at)
                SELECT i / 100, 'did:key:z6Mk' || md5((i %% %(dids)s)::text) || 'abcdefghijkl', sha256(int8send(i)),
                       sha256(int8send(i / 1000)), i %% %(kinds)s, 4096, true,
                       sha256(int8send(i)) || sha512(int8send(i + 1)) || sha512(int8send(i + 2)) || sha512(int8send(i)),
                       sha512(int8send(i)), now()
                FROM generate_series(%(first)s::bigint, %(last)s::bigint) i
                """,
                {
                    "first": first,
                    "last": min(receipts, first + _STEP) - 1,
                    "dids": dids,
                    "kinds": len(ProofType),
                },
            )
            print(f"{min(receipts, first + _STEP):,} receipts written", flush=True)
        connection.execute("VACUUM ANALYZE receipts")


def close(receipts: int, dids: int, folder: Path) -> float:
    """Fill a database and close its epoch; return the seconds that closing it took."""
    with LocalServers(folder, postgres=True, valkey=False) as servers:
        assert servers.postgres is not None
        url = servers.postgres.url()
        migrations.run(url, "up")
        fill(url, receipts, dids)
        pool = open_pool(url, size=2, timeout=3_600)
        key = NodeKey(SigningKey.generate())
        settings = Settings.from_env({"POUW_NODE_SECRET_KEY": "A" * 43 + "=", "POUW_DATABASE_URL": url})
        genesis = int(time.time()) - _EPOCH_SECS // 2
        terms = Terms(settings.epoch_terms.rules, genesis, _EPOCH_SECS, settings.min_bytes_per_receipt)
        epochs = Epochs(pool, terms, signer=lambda: key)
        start = time.perf_counter()
        epochs.close(0)
        took = time.perf_counter() - start
        pool.close()
    return took
