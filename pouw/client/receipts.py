"""Building, signing and batching receipts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pouw.protocol.canonical import encode_receipt
from pouw.protocol.types import SIG_SCHEME, VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nacl.signing import SigningKey

    from pouw.protocol.types import Receipt


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt and the 64-byte Ed25519 signature over its canonical bytes."""

    receipt: Receipt
    signature: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the item as it stands in a JSON batch."""
        return {
            "receipt": receipt_to_json(self.receipt),
            "sig_scheme": SIG_SCHEME,
            "signature": self.signature.hex(),
        }


def sign(receipt: Receipt, key: SigningKey) -> SignedReceipt:
    """Sign a receipt with the client's identity key."""
    return SignedReceipt(receipt, key.sign(encode_receipt(receipt)).signature)


def receipt_to_json(receipt: Receipt) -> dict[str, Any]:
    """Return the JSON form of a receipt; optional members only where they are set."""
    value: dict[str, Any] = {
        "version": receipt.version,
        "task_id": receipt.task_id.hex(),
        "client_did": receipt.client_did,
        "client_node_id": receipt.client_node_id.hex(),
        "content_id": receipt.content_id.hex(),
        "proof_type": receipt.proof_type.json_name,
        "bytes_verified": receipt.bytes_verified,
        "result_ok": receipt.result_ok,
        "started_at": receipt.started_at,
        "finished_at": receipt.finished_at,
        "receipt_nonce": receipt.receipt_nonce.hex(),
        "challenge_nonce": receipt.challenge_nonce.hex(),
    }
    if receipt.provider_id:
        value["provider_id"] = receipt.provider_id.hex()
    if receipt.aux is not None:
        value["aux"] = {
            "merkle_root": receipt.aux.merkle_root.hex(),
            "proof_digest": receipt.aux.proof_digest.hex(),
            "context": receipt.aux.context,
        }
    return value


def encode_batch(client_did: str, batch_nonce: bytes, receipts: Sequence[SignedReceipt]) -> bytes:
    """Return the JSON body of a batch. Keep these bytes: a retry has to send the same ones."""
    return encode_items(client_did, batch_nonce, [receipt.to_json() for receipt in receipts])


def encode_items(client_did: str, batch_nonce: bytes, items: Sequence[dict[str, Any]]) -> bytes:
    """Return the JSON body of a batch of items that are in their JSON form already."""
    return json.dumps(
        {"version": VERSION, "client_did": client_did, "batch_nonce": batch_nonce.hex(), "receipts": items},
        separators=(",", ":"),
    ).encode()
