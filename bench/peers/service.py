"""A plain FastAPI service that takes the same receipts: no quotas, policies, verdicts, retries or metrics.

It checks signatures, binds receipts to challenges, refuses replays, and answers after the commit. It is written to be
as fast as its kind can be: Pydantic decodes JSON and hex in one pass of Rust, PyNaCl's bindings are called without
their wrappers, challenges are remembered, and a batch is one COPY, repeated as a careful INSERT on a replay.
"""

from __future__ import annotations

import base64
import os
import secrets
import time
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import asyncpg
import orjson
from fastapi import FastAPI, HTTPException, Request, Response
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pouw.protocol.canonical import varint
from pouw.protocol.dids import key_from_did

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_TTL_SECS = 86_400
_COPY_FROM = 5
"""A COPY takes two round trips and an INSERT one: from here on the COPY is faster."""

_TYPES = {"hash": 0, "merkle": 1, "signature": 2, "web4_manifest_route": 3, "web4_content_served": 4}
_HEX = ConfigDict(val_json_bytes="hex", extra="forbid")
_COLUMNS = (
    "receipt_nonce", "client_did", "challenge_nonce", "proof_type", "bytes_verified", "result_ok", "body", "signature",
)  # fmt: skip
_INSERT = """
    INSERT INTO receipts (receipt_nonce, client_did, challenge_nonce, proof_type, bytes_verified, result_ok, body,
                          signature)
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::smallint[], $5::bigint[], $6::boolean[],
                         $7::bytea[], $8::bytea[])
    ON CONFLICT DO NOTHING RETURNING receipt_nonce
"""

Nonce = Annotated[bytes, Field(min_length=16, max_length=32)]
Integer = Annotated[int, Field(ge=0, lt=2**53)]
Row = tuple[bytes, str, bytes, int, int, bool, bytes, bytes]


class Receipt(TypedDict):
    """A receipt without the optional members, which the measured ones do not have."""

    __pydantic_config__ = _HEX  # type: ignore[misc]  # Pydantic's way to configure a TypedDict
    version: Literal[1]
    task_id: Nonce
    client_did: Annotated[str, Field(max_length=256)]
    client_node_id: Annotated[bytes, Field(min_length=32, max_length=32)]
    content_id: Annotated[bytes, Field(min_length=1, max_length=64)]
    proof_type: Literal["hash", "merkle", "signature", "web4_manifest_route", "web4_content_served"]
    bytes_verified: Integer
    result_ok: bool
    started_at: Integer
    finished_at: Integer
    receipt_nonce: Nonce
    challenge_nonce: Nonce


class Signed(TypedDict):
    """A receipt and its signature."""

    __pydantic_config__ = _HEX  # type: ignore[misc]
    receipt: Receipt
    sig_scheme: Literal["ed25519"]
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]


class Batch(TypedDict):
    """The body of a submit."""

    __pydantic_config__ = _HEX  # type: ignore[misc]
    version: Literal[1]
    client_did: Annotated[str, Field(max_length=256)]
    batch_nonce: Nonce
    receipts: Annotated[list[Signed], Field(min_length=1, max_length=100)]


_batch = TypeAdapter(Batch)
_public_key = lru_cache(100_000)(key_from_did)
_challenges: dict[bytes, tuple[bytes, int]] = {}


async def _nothing_to_reset(_connection: object) -> None:
    """Save the round trip that asyncpg spends when a connection comes back; no session state is changed here."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["PEER_DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=8, max_size=8, reset=_nothing_to_reset) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=_lifespan, openapi_url=None)


@app.get("/api/v1/pouw/challenge")
async def challenge(request: Request) -> Response:
    """Issue a challenge."""
    nonce, task_id, expires_at = secrets.token_bytes(32), secrets.token_bytes(16), int(time.time()) + _TTL_SECS
    await request.app.state.pool.execute("INSERT INTO challenges VALUES ($1, $2, $3)", nonce, task_id, expires_at)
    token = {"task_id": task_id.hex(), "challenge_nonce": nonce.hex(), "expires_at": expires_at}
    answer = {"token": base64.b64encode(orjson.dumps(token)).decode(), "expires_at": expires_at}
    return Response(orjson.dumps(answer), media_type="application/json")


@app.post("/api/v1/pouw/submit")
async def submit(request: Request) -> Response:
    """Judge a batch, store what is accepted, and answer after the commit."""
    try:
        batch = _batch.validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False, include_input=False)) from error
    items, did = batch["receipts"], batch["client_did"]
    pool = request.app.state.pool
    await _remember(pool, {item["receipt"]["challenge_nonce"] for item in items} - _challenges.keys())
    key, now = _public_key(did), int(time.time())
    failures, rows = [], []
    for item in items:
        body = _canonical(item["receipt"])
        failure = _failure(item, body, did, key, now)
        failures.append(failure)
        if failure is None:
            rows.append(_row(item, body))
    stored = await _store(pool, rows)
    return _answer(items, failures, stored)


def _answer(items: list[Signed], failures: list[str | None], stored: set[bytes]) -> Response:
    accepted, rejected = [], []
    for index, (item, failure) in enumerate(zip(items, failures, strict=True)):
        nonce = item["receipt"]["receipt_nonce"]
        if failure is None and nonce in stored:
            stored.discard(nonce)
            accepted.append(nonce.hex())
        else:
            rejected.append({"index": index, "receipt_nonce": nonce.hex(), "detail": failure or "duplicate_nonce"})
    return Response(orjson.dumps({"accepted": accepted, "rejected": rejected}), media_type="application/json")


async def _remember(pool: asyncpg.Pool[Any], unknown: set[bytes]) -> None:
    if unknown:
        query = "SELECT nonce, task_id, expires_at FROM challenges WHERE nonce = ANY($1)"
        for nonce, task_id, expires_at in await pool.fetch(query, list(unknown)):
            _challenges[nonce] = task_id, expires_at


def _failure(item: Signed, body: bytes, did: str, key: bytes, now: int) -> str | None:
    receipt = item["receipt"]
    known = _challenges.get(receipt["challenge_nonce"])
    if receipt["client_did"] != did or receipt["client_node_id"] != key:
        return "did_mismatch"
    if known is None or known[0] != receipt["task_id"]:
        return "invalid_challenge_binding"
    if known[1] < now:
        return "expired_challenge"
    try:
        crypto_sign_open(item["signature"] + body, key)
    except BadSignatureError:
        return "invalid_signature"
    return None


def _canonical(receipt: Receipt) -> bytes:
    """Return the signed bytes. Every length is below 128 but the DID's, which is at most 256."""
    did, kind = receipt["client_did"].encode(), _TYPES[receipt["proof_type"]]
    task_id, content_id = receipt["task_id"], receipt["content_id"]
    return b"\x08\x01\x12%c%b\x1a%b%b\x22\x20%b\x32%c%b%b%b%b%b%b\x62%c%b\x6a%c%b" % (
        len(task_id), task_id, varint(len(did)), did, receipt["client_node_id"], len(content_id), content_id,
        b"\x38%c" % kind if kind else b"", _field(b"\x40", receipt["bytes_verified"]),
        b"\x48\x01" if receipt["result_ok"] else b"", _field(b"\x50", receipt["started_at"]),
        _field(b"\x58", receipt["finished_at"]), len(receipt["receipt_nonce"]), receipt["receipt_nonce"],
        len(receipt["challenge_nonce"]), receipt["challenge_nonce"],
    )  # fmt: skip


@lru_cache(4_096)
def _field(tag: bytes, value: int) -> bytes:
    return tag + varint(value) if value else b""


def _row(item: Signed, body: bytes) -> Row:
    receipt = item["receipt"]
    return (
        receipt["receipt_nonce"], receipt["client_did"], receipt["challenge_nonce"], _TYPES[receipt["proof_type"]],
        receipt["bytes_verified"], receipt["result_ok"], body, item["signature"],
    )  # fmt: skip


async def _store(pool: asyncpg.Pool[Any], rows: list[Row]) -> set[bytes]:
    """Commit the rows that are new; return their nonces."""
    nonces = {row[0] for row in rows}
    if not rows:
        return nonces
    if len(nonces) == len(rows) >= _COPY_FROM:
        try:
            await pool.copy_records_to_table("receipts", records=rows, columns=_COLUMNS)
        except asyncpg.UniqueViolationError:
            pass
        else:
            return nonces
    stored = await pool.fetch(_INSERT, *zip(*sorted(rows), strict=True))
    return {row[0] for row in stored}
