"""Canonical protobuf bytes: the one byte string that a receipt or a token is signed as.

Fields stand in number order, proto3 defaults (0, false, empty) are left out, varints are minimal, repeated
enums are packed, nothing is unknown and nothing stands twice. A sub-message that is present keeps its tag
even when it is empty. (Encoding: https://protobuf.dev/programming-guides/encoding/)
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pouw.protocol.types import Aux, ChallengeToken, Policy, Receipt

_VARINT = 0
_LENGTH = 2
_CONTINUE = 0x80


def varint(value: int) -> bytes:
    """Encode a non-negative integer in base 128, least significant group first."""
    out = bytearray()
    while value >= _CONTINUE:
        out.append(value & 0x7F | _CONTINUE)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer_field(number: int, value: int) -> bytes:
    """Encode a varint field; empty where the value is the default 0."""
    return varint(number << 3 | _VARINT) + varint(value) if value else b""


def bytes_field(number: int, value: bytes | str) -> bytes:
    """Encode a length-delimited field; empty where the value is."""
    return message_field(number, value.encode() if isinstance(value, str) else value) if value else b""


def message_field(number: int, value: bytes) -> bytes:
    """Encode a field whose presence counts: an empty value is its tag and length 0."""
    return _head(number, len(value)) + value


@functools.lru_cache(maxsize=4_096)  # the same few fields of the same few sizes, in every message
def _head(number: int, size: int) -> bytes:
    return varint(number << 3 | _LENGTH) + varint(size)


def packed_field(number: int, values: Iterable[int]) -> bytes:
    """Encode a packed repeated enum; empty where there is no value."""
    return bytes_field(number, b"".join(varint(value) for value in values))


def encode_aux(aux: Aux) -> bytes:
    """Canonical bytes of the message ``Aux``."""
    return bytes_field(1, aux.merkle_root) + bytes_field(2, aux.proof_digest) + bytes_field(3, aux.context)


def encode_receipt(receipt: Receipt) -> bytes:
    """Canonical bytes of the message ``Receipt``: what its signature covers."""
    return b"".join(
        (
            integer_field(1, receipt.version),
            bytes_field(2, receipt.task_id),
            bytes_field(3, receipt.client_did),
            bytes_field(4, receipt.client_node_id),
            bytes_field(5, receipt.provider_id),
            bytes_field(6, receipt.content_id),
            integer_field(7, receipt.proof_type),
            integer_field(8, receipt.bytes_verified),
            integer_field(9, receipt.result_ok),
            integer_field(10, receipt.started_at),
            integer_field(11, receipt.finished_at),
            bytes_field(12, receipt.receipt_nonce),
            bytes_field(13, receipt.challenge_nonce),
            message_field(14, encode_aux(receipt.aux)) if receipt.aux is not None else b"",
        )
    )


@functools.lru_cache(maxsize=256)  # a node grants few different ones
def encode_policy(policy: Policy) -> bytes:
    """Canonical bytes of the message ``Policy``."""
    return (
        integer_field(1, policy.max_receipts)
        + integer_field(2, policy.max_bytes_total)
        + integer_field(3, policy.min_bytes_per_receipt)
        + packed_field(4, policy.allowed_proof_types)
    )


def encode_token(token: ChallengeToken) -> bytes:
    """Canonical bytes of the message ``ChallengeToken`` without its signature: what the node signs."""
    return b"".join(
        (
            integer_field(1, token.version),
            bytes_field(2, token.node_id),
            bytes_field(3, token.task_id),
            bytes_field(4, token.challenge_nonce),
            integer_field(5, token.issued_at),
            integer_field(6, token.expires_at),
            message_field(7, encode_policy(token.policy)),
        )
    )


def encode_signed_token(token: ChallengeToken) -> bytes:
    """Canonical bytes of the message ``ChallengeToken`` with its signature."""
    return encode_token(token) + bytes_field(8, token.node_signature)
