"""Verdicts: what a node decided about a batch, signed so that a client can prove it later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pouw.protocol.canonical import bytes_field, integer_field, message_field
from pouw.protocol.types import VERSION

if TYPE_CHECKING:
    from pouw.protocol.reasons import Detail

_CONTEXT = b"pouw verdict v1\0"
"""Keeps a signature over a verdict from being one over a token, which the same key signs."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the receipt at ``index`` of a batch was not accepted; its nonce is None where it was unreadable."""

    index: int
    receipt_nonce: bytes | None
    detail: Detail
    fault: str | None = None


class Verdict(NamedTuple):
    """The node's decision about one batch. ``batch_digest`` is the SHA-256 of the request body's bytes."""

    batch_digest: bytes
    node_id: bytes
    accepted: tuple[bytes, ...]
    rejected: tuple[Rejection, ...]
    server_time: int


def encode_rejection(rejection: Rejection) -> bytes:
    """Canonical bytes of the message ``Rejection``."""
    return b"".join(
        (
            integer_field(1, rejection.index),
            bytes_field(2, rejection.receipt_nonce or b""),
            bytes_field(3, rejection.detail.reason),
            bytes_field(4, rejection.detail),
        )
    )


def signed_bytes(verdict: Verdict) -> bytes:
    """Return what the node signs: a context label and the canonical bytes of the message ``Verdict``."""
    return b"".join(
        (
            _CONTEXT,
            integer_field(1, VERSION),
            bytes_field(2, verdict.batch_digest),
            bytes_field(3, verdict.node_id),
            b"".join(message_field(4, nonce) for nonce in verdict.accepted),
            b"".join(message_field(5, encode_rejection(rejection)) for rejection in verdict.rejected),
            integer_field(6, verdict.server_time),
        )
    )
