"""The published vectors: what they say is what the node does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey

from pouw import _fastverify
from pouw.protocol.dids import key_from_did
from pouw.protocol.tokens import decode_wire
from tools.make_vectors import MALFORMED, PATH, RECEIPTS, build

VECTORS = json.loads(PATH.read_text())


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def item(vector: dict[str, Any]) -> dict[str, Any]:
    signature = vector.get("signature", "00" * 64)
    return {"receipt": vector["receipt"], "sig_scheme": "ed25519", "signature": signature}


def test_the_file_is_what_its_generator_writes() -> None:
    assert json.loads(json.dumps(build())) == VECTORS
    assert len(RECEIPTS) >= 20
    assert len(MALFORMED) >= 20


@pytest.mark.parametrize("vector", VECTORS["receipts"], ids=named)
def test_receipts_have_the_published_bytes_and_signature(vector: dict[str, Any]) -> None:
    [decoded] = _fastverify.decode_json([item(vector)])
    assert decoded.fault is None
    assert decoded.body.hex() == vector["canonical"]
    key = bytes.fromhex(VECTORS["client"]["public_key"])
    assert _fastverify.verify([decoded.body], [decoded.signature], _fastverify.PublicKey(key)) == b"\1"


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=named)
def test_malformed_receipts_are_malformed(vector: dict[str, Any]) -> None:
    [decoded] = _fastverify.decode_json([item(vector)])
    assert decoded.fault is not None
    assert decoded.fault.startswith("receipt")


def test_the_client_is_its_did() -> None:
    client = VECTORS["client"]
    assert key_from_did(client["did"]).hex() == client["public_key"]


def test_the_token_is_signed() -> None:
    vector = VECTORS["token"]
    assert decode_wire(vector["wire"]).challenge_nonce.hex() == vector["json"]["challenge_nonce"]
    signature = bytes.fromhex(vector["json"]["node_signature"])
    VerifyKey(bytes.fromhex(VECTORS["node"]["public_key"])).verify(bytes.fromhex(vector["canonical"]), signature)


def test_the_verdict_is_signed() -> None:
    vector = VECTORS["verdict"]
    assert hashlib.sha256(vector["body"].encode()).hexdigest() == vector["batch_digest"]
    key = VerifyKey(bytes.fromhex(VECTORS["node"]["public_key"]))
    key.verify(bytes.fromhex(vector["signed_bytes"]), bytes.fromhex(vector["signature"]))


def test_the_vectors_lie_where_the_documentation_says() -> None:
    assert Path("tests/data/vectors.json") == PATH.relative_to(PATH.parents[2])
