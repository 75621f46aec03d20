"""Challenge tokens on the wire: base64 of a JSON object, signed by the node."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import json
from typing import TYPE_CHECKING, Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from pouw.errors import TokenError
from pouw.protocol.canonical import encode_token
from pouw.protocol.types import (
    KEY_BYTES,
    MAX_INTEGER,
    NONCE_BYTES,
    PROOF_TYPE_NAMES,
    SIGNATURE_BYTES,
    VERSION,
    ChallengeToken,
    Policy,
    ProofType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container

_encode_json = json.JSONEncoder(separators=(",", ":")).encode


def sign_token(token: ChallengeToken, sign: Callable[[bytes], bytes]) -> ChallengeToken:
    """Return the token with the signature over its canonical bytes that ``sign`` makes."""
    return dataclasses.replace(token, node_signature=sign(encode_token(token)))


def verify_token(token: ChallengeToken) -> None:
    """Raise :class:`TokenError` unless the token was signed by the node it names."""
    try:
        VerifyKey(token.node_id).verify(encode_token(token), token.node_signature)
    except (BadSignatureError, ValueError) as error:
        raise TokenError("The token's signature is not its node's.") from error


def token_to_json(token: ChallengeToken) -> dict[str, Any]:
    """Return the token as the JSON object that travels inside base64."""
    return {
        "version": token.version,
        "node_id": token.node_id.hex(),
        "task_id": token.task_id.hex(),
        "challenge_nonce": token.challenge_nonce.hex(),
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "policy": {
            "max_receipts": token.policy.max_receipts,
            "max_bytes_total": token.policy.max_bytes_total,
            "min_bytes_per_receipt": token.policy.min_bytes_per_receipt,
            "allowed_proof_types": _names(token.policy.allowed_proof_types),
        },
        "node_signature": token.node_signature.hex(),
    }


@functools.lru_cache(maxsize=256)
def _names(kinds: tuple[ProofType, ...]) -> tuple[str, ...]:
    return tuple(kind.json_name for kind in kinds)


def encode_wire(token: ChallengeToken) -> str:
    """Return the token as the text in a challenge answer's ``token``."""
    return base64.b64encode(_encode_json(token_to_json(token)).encode()).decode()


def decode_wire(text: str) -> ChallengeToken:
    """Read a token from the text in a challenge answer and verify its signature.

    Raises :class:`TokenError` where the text is no token or the signature is wrong.
    """
    try:
        value = json.loads(base64.b64decode(text, validate=True))
        policy = value["policy"]
        token = ChallengeToken(
            version=_integer(value["version"]),
            node_id=_bytes(value["node_id"], (KEY_BYTES,)),
            task_id=_bytes(value["task_id"], NONCE_BYTES),
            challenge_nonce=_bytes(value["challenge_nonce"], NONCE_BYTES),
            issued_at=_integer(value["issued_at"]),
            expires_at=_integer(value["expires_at"]),
            policy=Policy(
                max_receipts=_integer(policy["max_receipts"]),
                max_bytes_total=_integer(policy["max_bytes_total"]),
                min_bytes_per_receipt=_integer(policy["min_bytes_per_receipt"]),
                allowed_proof_types=tuple(PROOF_TYPE_NAMES[name] for name in policy["allowed_proof_types"]),
            ),
            node_signature=_bytes(value["node_signature"], (SIGNATURE_BYTES,)),
        )
    except (binascii.Error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise TokenError("This is not a challenge token.") from error
    if token.version != VERSION:
        raise TokenError(f"This token has version {token.version}, not {VERSION}.")
    verify_token(token)
    return token


def _integer(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise ValueError(value)
    return value


def _bytes(value: str, sizes: Container[int]) -> bytes:
    decoded = bytes.fromhex(value)
    if len(decoded) not in sizes or decoded.hex() != value:
        raise ValueError(value)
    return decoded
