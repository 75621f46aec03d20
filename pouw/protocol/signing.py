"""Signed requests (RFC 9421): the headers that prove who asks."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def request_headers(
    sign: Callable[[bytes], bytes], did: str, method: str, url: str, body: bytes | None, *, created: int, nonce: str
) -> dict[str, str]:
    """Return the headers that sign a request with the key of ``did``; ``sign`` makes the 64-byte signature.

    ``url`` is the absolute URL as it will be sent, ``created`` unix seconds, ``nonce`` 16 to 64 printable
    characters that no other request has. A body is covered by its Content-Digest (RFC 9530).
    """
    headers = {}
    lines = [f'"@method": {method}', f'"@target-uri": {url}']
    covered = '"@method" "@target-uri"'
    if body:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers["Content-Digest"] = f"sha-256=:{digest}:"
        lines.append(f'"content-digest": {headers["Content-Digest"]}')
        covered += ' "content-digest"'
    parameters = f'({covered});created={created};keyid="{did}";alg="ed25519";nonce="{nonce}";tag="pouw"'
    lines.append(f'"@signature-params": {parameters}')
    signature = base64.b64encode(sign("\n".join(lines).encode())).decode()
    return headers | {"Signature-Input": f"pouw={parameters}", "Signature": f"pouw=:{signature}:"}
