"""Signed requests (RFC 9421): who asks, proven by the key of a DID.

The signature is Ed25519 with the tag ``pouw``; ``keyid`` is the DID; ``created`` and ``nonce`` are required. It covers
``@method``, the target (``@target-uri``, ``@request-target``, or ``@path`` and ``@query``) and, where there is a body,
``content-digest`` (RFC 9530). Each nonce counts once.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import request
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, InvalidSignature, algorithms

from pouw.errors import StoreError
from pouw.protocol.dids import is_did
from pouw.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.service.identities import Identities

TAG = "pouw"
MAX_AGE_SECS = 60
_SKEW_SECS = 30
_NONCE = re.compile(r"[!-~]{16,64}\Z")
_TARGETS = ({'"@target-uri"'}, {'"@request-target"'}, {'"@path"', '"@query"'})
_HOW = {
    "WWW-Authenticate": "Signature",
    "Accept-Signature": (
        'pouw=("@method" "@target-uri" "content-digest");created;keyid="your DID";alg="ed25519"'
        ';nonce="random";tag="pouw"'
    ),
}


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a request."""

    did: str
    operator: bool


class _Message:
    """A request as the verifier wants it: the method, the absolute URL as it was sent, the headers."""

    def __init__(self) -> None:
        target = request.environ.get("RAW_URI") or request.full_path.rstrip("?")
        self.method = request.method
        self.url = target if target.startswith("http") else f"{request.scheme}://{request.host}{target}"
        # A target in absolute form names the host itself, and what Host says counts no more (RFC 9112, section 3.2.2).
        self.host = self.url.partition("://")[2].partition("/")[0].partition("?")[0].lower()
        self.request_target = target
        self.headers = request.headers


class _Keys(HTTPSignatureKeyResolver):
    """Resolves a DID to its key; ``offered`` is a DID that is about to be registered, and its key."""

    def __init__(self, identities: Identities, offered: tuple[str, bytes] | None) -> None:
        self._identities = identities
        self._offered = offered
        self.took_offer = False

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        key = self._identities.key_of(key_id)
        if key is None and self._offered is not None and self._offered[0] == key_id:
            self.took_offer = True
            key = self._offered[1]
        if key is None:
            raise InvalidSignature("keyid is not a DID with a key that this node knows")
        return Ed25519PublicKey.from_public_bytes(key)

    def resolve_private_key(self, key_id: str) -> bytes:
        raise NotImplementedError(key_id)


class Verifier(HTTPMessageVerifier):
    """The library's verifier with this node's patience for clocks."""

    max_clock_skew = dt.timedelta(seconds=_SKEW_SECS)


class Signatures:
    """Tells who signed the present request, and refuses those who may not have what they ask for."""

    def __init__(
        self,
        identities: Identities,
        operators: frozenset[str],
        public_hosts: frozenset[str],
        spend_did_quota: Callable[[str], None],
        console: Callable[[], str | None],
    ) -> None:
        """``console`` returns the operator who makes the present request in the console."""
        self._identities = identities
        self._console = console
        self._operators = operators
        self._public_hosts = public_hosts
        self._spend_did_quota = spend_did_quota

    def signer(self, body: bytes = b"", offered: tuple[str, bytes] | None = None) -> Signer | None:
        """Return who signed the request, or makes it in the console, or None; raise a 401 for a bad signature."""
        if "Signature-Input" not in request.headers and "Signature" not in request.headers:
            operator = self._console()
            return None if operator is None else Signer(operator, operator=True)
        message = _Message()
        if self._public_hosts and message.host not in self._public_hosts:
            raise unauthorised("The request was signed for a host that is not this node's.")
        keys = _Keys(self._identities, offered)
        verifier = Verifier(signature_algorithm=algorithms.ED25519, key_resolver=keys)
        try:
            [result] = verifier.verify(
                message,
                max_age=dt.timedelta(seconds=MAX_AGE_SECS),
                expect_tag=TAG,
                require_components=("@method",),
                body=body or None,
            )
        except (InvalidSignature, ValueError) as error:
            if isinstance(error.__cause__, StoreError):
                raise error.__cause__ from None  # the key could not be looked up: nobody's fault
            raise unauthorised(f"The request's signature does not hold: {_plain(error)}.") from None
        covered = set(result.covered_components)
        if not any(target <= covered for target in _TARGETS):
            raise unauthorised("The signature does not cover the target: add @target-uri.")
        nonce = result.nonce or ""
        if not _NONCE.match(nonce):
            raise unauthorised("The signature needs a nonce of 16 to 64 printable characters.")
        did = str(result.parameters["keyid"])
        if not self._identities.claim_request(did, nonce, MAX_AGE_SECS + 2 * _SKEW_SECS):
            raise unauthorised("A request with this nonce was made before: sign each request anew.")
        if not keys.took_offer:
            self._spend_did_quota(did)
        # A key that is only offered proves nothing about an operator.
        return Signer(did, did in self._operators and not keys.took_offer)

    def require(self, did: str) -> Signer:
        """Return the signer, who has to be ``did`` or an operator: else 401 or 403; 404 for what is no DID."""
        signer = self._require_any(b"")
        if not is_did(did):
            raise Problem(404, "not-found", "There is no such client.", "The path does not hold a DID.")
        if signer.operator and signer.did != did:
            self._identities.note_read(signer.did, did, str(request.url_rule))
        if signer.did != did and not signer.operator:
            raise Problem(
                403, "forbidden", "This is for its owner only.", f"{signer.did} is neither it nor an operator."
            )
        return signer

    def require_signer(self, body: bytes) -> Signer:
        """Return the signer, whoever it is: else 401."""
        return self._require_any(body)

    def require_operator(self, body: bytes = b"") -> Signer:
        """Return the signer, who has to be an operator: else 401 or 403."""
        signer = self._require_any(body)
        if not signer.operator:
            raise Problem(403, "forbidden", "This is for operators only.", f"{signer.did} is not an operator.")
        return signer

    def require_registrant(self, body: bytes, did: str, key: bytes) -> Signer:
        """Return the signer, who has to hold the ``key`` that ``did`` is to be registered with, or be an operator."""
        signer = self._require_any(body, (did, key))
        if not signer.operator and (signer.did != did or did in self._operators):
            raise Problem(403, "forbidden", "This is for its holder only.", "Sign with the key that you register.")
        return signer

    def _require_any(self, body: bytes, offered: tuple[str, bytes] | None = None) -> Signer:
        signer = self.signer(body, offered)
        if signer is None:
            raise unauthorised("Sign the request with the key of your DID (RFC 9421).")
        return signer


def unauthorised(detail: str) -> Problem:
    """Return the answer to a request that nobody signed as it should be."""
    return Problem(401, "signature-required", "A signed request is needed.", detail, headers=_HOW)


def _plain(error: Exception) -> str:
    text = str(error)
    return text.rstrip(".")[:200] if text and text.isprintable() else "it is not valid"
