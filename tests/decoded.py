"""Receipts as the node sees them: decoded from a batch's JSON, with fields that a test wants to choose."""

from __future__ import annotations

from typing import Any

from pouw import _fastverify
from pouw.client.receipts import receipt_to_json
from pouw.protocol.types import SIG_SCHEME, ProofType, Receipt

USUAL: dict[str, Any] = {
    "task_id": b"t" * 16,
    "client_did": "did:x:usual",
    "client_node_id": b"k" * 32,
    "content_id": b"c",
    "proof_type": ProofType.HASH,
    "bytes_verified": 10,
    "result_ok": True,
    "started_at": 1,
    "finished_at": 1,
    "receipt_nonce": b"n" * 16,
    "challenge_nonce": b"c" * 16,
}


def decoded(*, scheme: str = SIG_SCHEME, **fields: Any) -> _fastverify.SignedReceipt:
    """Return a receipt with the usual fields but those given; its signature is none."""
    item = {"receipt": receipt_to_json(Receipt(**USUAL | fields)), "sig_scheme": scheme, "signature": "5" * 128}
    [receipt] = _fastverify.decode_json([item])
    return receipt
