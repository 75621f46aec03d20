"""Sessions of operators in the console: a random secret in the browser, its digest in the database."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.store import sessions as store

if TYPE_CHECKING:
    from pouw.store.pool import Pool

IDLE_SECS = 30 * 60
MOST_SECS = 8 * 3_600
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in, and when that ends at the latest (unix seconds).

    ``token`` has to come with each request beside the cookie: a page of another origin does not know it.
    """

    did: str
    token: str
    ends_at: float


class Sessions:
    """Begins, finds and ends sessions of the DIDs in ``operators``; whoever is no operator any more has none."""

    def __init__(self, pool: Pool, operators: frozenset[str]) -> None:
        self._pool = pool
        self._operators = operators

    def begin(self, did: str) -> str:
        """Begin a session of an operator; return the browser's secret."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        store.begin(self._pool, _digest(secret), did)
        return secret

    def find(self, secret: str) -> Session | None:
        """Return the session of a secret; None where it is over, or nobody's."""
        found = store.find(self._pool, _digest(secret), IDLE_SECS, MOST_SECS)
        if found is None or found[0] not in self._operators:
            return None
        return Session(found[0], token_of(secret), found[1])

    def end(self, secret: str) -> None:
        """End the session of a secret."""
        store.end(self._pool, _digest(secret))


def token_of(secret: str) -> str:
    """Return the token that belongs to a session; it says nothing of the secret."""
    return hashlib.sha256(b"console token\0" + secret.encode()).hexdigest()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
