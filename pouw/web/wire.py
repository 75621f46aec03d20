"""Answers as bytes, in the two encodings: JSON and its compact twin, protobuf."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from pouw.protocol.canonical import bytes_field, encode_signed_token, integer_field, message_field
from pouw.protocol.tokens import encode_wire
from pouw.protocol.verdicts import encode_rejection

if TYPE_CHECKING:
    from pouw.protocol.types import ChallengeToken
    from pouw.protocol.verdicts import Verdict

JSON = "application/json"
PROTOBUF = "application/x-protobuf"


def as_json(value: Any, status: int = 200, *, cache: str | None = None) -> Response:
    """Answer with JSON: bytes in hex, times in unix seconds; ``cache`` is the Cache-Control, if any."""
    body = orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)
    headers = {} if cache is None else {"Cache-Control": cache}
    return Response(body, status, headers, content_type=JSON)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dt.datetime):
        return int(value.timestamp())
    raise TypeError(type(value))


def challenge_json(token: ChallengeToken, server_time: int) -> bytes:
    """Return a challenge as JSON."""
    return orjson.dumps(
        {"token": encode_wire(token), "expires_at": token.expires_at, "server_time": server_time},
    )


def challenge_protobuf(token: ChallengeToken, server_time: int) -> bytes:
    """Return a challenge as the message ``ChallengeAnswer``."""
    return (
        message_field(1, encode_signed_token(token))
        + integer_field(2, token.expires_at)
        + integer_field(3, server_time)
    )


def verdict_json(verdict: Verdict, signature: bytes) -> bytes:
    """Return a verdict as the JSON answer to a batch."""
    return orjson.dumps(
        {
            "accepted": [nonce.hex() for nonce in verdict.accepted],
            "rejected": [
                {
                    "index": rejection.index,
                    "receipt_nonce": None if rejection.receipt_nonce is None else rejection.receipt_nonce.hex(),
                    "reason": rejection.detail.reason.value,
                    "detail": rejection.detail.value,
                }
                for rejection in verdict.rejected
            ],
            "server_time": verdict.server_time,
            "verdict": {
                "batch_digest": verdict.batch_digest.hex(),
                "node_id": verdict.node_id.hex(),
                "signature": signature.hex(),
            },
        }
    )


def verdict_protobuf(verdict: Verdict, signature: bytes) -> bytes:
    """Return a verdict as the message ``SubmitAnswer``."""
    signed = bytes_field(1, verdict.batch_digest) + bytes_field(2, verdict.node_id) + bytes_field(3, signature)
    return b"".join(
        (
            *(message_field(1, nonce) for nonce in verdict.accepted),
            *(message_field(2, encode_rejection(rejection)) for rejection in verdict.rejected),
            integer_field(3, verdict.server_time),
            message_field(4, signed),
        )
    )


CHALLENGE_ENCODERS = {JSON: challenge_json, PROTOBUF: challenge_protobuf}
VERDICT_ENCODERS = {JSON: verdict_json, PROTOBUF: verdict_protobuf}


@functools.lru_cache(maxsize=256)  # the same few headers, with every request
def best_encoding(accept: str | None) -> str:
    """Return which of the two encodings an ``Accept`` header prefers; JSON where it prefers neither."""
    return parse_accept_header(accept, MIMEAccept).best_match(CHALLENGE_ENCODERS, default=JSON)
