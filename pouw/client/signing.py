"""Signing requests with a client's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pouw.protocol.signing import request_headers

if TYPE_CHECKING:
    from nacl.signing import SigningKey


def sign_request(
    key: SigningKey, did: str, method: str, url: str, body: bytes | None, *, created: int, nonce: str
) -> dict[str, str]:
    """Return the headers that sign a request with ``key``; see :func:`pouw.protocol.signing.request_headers`."""
    return request_headers(
        lambda message: key.sign(message).signature, did, method, url, body, created=created, nonce=nonce
    )
