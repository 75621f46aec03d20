"""Who is who: the key that speaks for a DID, and how DIDs that carry no key of their own get one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pouw.errors import DidError
from pouw.protocol.dids import check_key, is_did, is_did_key, key_from_did
from pouw.store import identities as store
from pouw.store.keys import claim_request, note_action

if TYPE_CHECKING:
    from pouw.store.identities import IdentityRow
    from pouw.store.pool import Pool


class Identities:
    """Resolves, registers, rotates and retires keys."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def key_of(self, did: str) -> bytes | None:
        """Return the 32-byte key that signs for ``did``, or None where it names nobody here."""
        try:
            if is_did_key(did):
                return key_from_did(did)
            key = store.live_key(self._pool, did) if is_did(did) else None
            if key is not None:
                check_key(key)
        except DidError:
            return None
        return key

    def claim_request(self, did: str, nonce: str, lifetime: float) -> bool:
        """Let a signed request count once; False where this DID's nonce was used before."""
        digest = hashlib.sha256(f"{did}\0{nonce}".encode()).digest()
        return claim_request(self._pool, digest, lifetime)

    def note_read(self, operator: str, did: str, what: str) -> None:
        """Write down that an operator read what concerns another DID."""
        note_action(self._pool, operator, f"read {what}", did)

    def add(self, did: str, public_key: bytes, actor: str) -> IdentityRow:
        """Register a DID. Raises :class:`DidError` for a bad DID or key, or IdentityConflict where it is taken."""
        _check(did, public_key)
        return store.add(self._pool, did, public_key, actor)

    def rotate(self, did: str, public_key: bytes, actor: str) -> IdentityRow | None:
        """Give a DID a new key and retire the old one; None where the DID has no live key."""
        _check(did, public_key)
        return store.rotate(self._pool, did, public_key, actor)

    def retire(self, did: str, actor: str) -> bool:
        """Take a DID's live key away; False where it has none.

        Raises :class:`DidError` for a did:key, whose key nobody can take away.
        """
        if is_did(did) and is_did_key(did):
            raise DidError("A did:key keeps its key for ever; block the DID instead.")
        return is_did(did) and store.retire(self._pool, did, actor)

    def page(self, after: str, limit: int) -> list[IdentityRow]:
        """Return up to ``limit`` identities after the cursor ``after``, retired keys included."""
        did, _, key = after.rpartition(" ")
        try:
            return store.page(self._pool, did, bytes.fromhex(key), limit)
        except ValueError:
            return store.page(self._pool, after, b"", limit)


def cursor_of(row: IdentityRow) -> str:
    """Return the cursor that stands for a row of :meth:`Identities.page`."""
    return f"{row.did} {row.public_key.hex()}"


def _check(did: str, public_key: bytes) -> None:
    if not is_did(did):
        raise DidError("This is not a DID (W3C DID Core 1.0, section 3.1), or it has more than 256 bytes.")
    check_key(public_key)
    if is_did_key(did) and key_from_did(did) != public_key:
        raise DidError("A did:key has the key that it names and no other.")
