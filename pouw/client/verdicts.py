"""Reading a node's answer to a batch, and proving that the node gave it."""

from __future__ import annotations

import hashlib
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from pouw.errors import VerdictError
from pouw.protocol.reasons import Detail
from pouw.protocol.types import MAX_INTEGER
from pouw.protocol.verdicts import Rejection, Verdict, signed_bytes


def read_answer(answer: Any) -> tuple[Verdict, bytes]:
    """Return the verdict in a decoded JSON answer, and its signature; raise :class:`VerdictError` if malformed."""
    try:
        signed = answer["verdict"]
        verdict = Verdict(
            batch_digest=bytes.fromhex(signed["batch_digest"]),
            node_id=bytes.fromhex(signed["node_id"]),
            accepted=tuple(bytes.fromhex(nonce) for nonce in answer["accepted"]),
            rejected=tuple(_rejection(item) for item in answer["rejected"]),
            server_time=whole(answer["server_time"]),
        )
        return verdict, bytes.fromhex(signed["signature"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerdictError(f"This is not an answer to a batch: {error!r}") from error


def whole(value: object) -> int:
    """Return a JSON integer from 0 to 2^63 - 1; raise ValueError for anything else."""
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise ValueError(value)
    return value


def _rejection(item: Any) -> Rejection:
    rejection = Rejection(
        whole(item["index"]),
        None if item["receipt_nonce"] is None else bytes.fromhex(item["receipt_nonce"]),
        Detail(item["detail"]),
    )
    if rejection.detail.reason != item["reason"]:
        raise ValueError(item["reason"])
    return rejection


def verify_answer(answer: Any, *, body: bytes | None = None, node_id: bytes | None = None) -> Verdict:
    """Return the verdict in a decoded JSON answer once its signature holds.

    With ``body`` the verdict has to be about exactly these bytes; with ``node_id`` it has to be that node's.
    Raises :class:`VerdictError` that says what does not hold.
    """
    verdict, signature = read_answer(answer)
    if node_id is not None and verdict.node_id != node_id:
        raise VerdictError("The verdict names another node.")
    if body is not None and verdict.batch_digest != hashlib.sha256(body).digest():
        raise VerdictError("The verdict is about another batch.")
    try:
        VerifyKey(verdict.node_id).verify(signed_bytes(verdict), signature)
    except (BadSignatureError, ValueError) as error:
        raise VerdictError("The verdict's signature does not hold.") from error
    return verdict
