"""Write tests/data/vectors.json: what the protocol's bytes are, for authors of other implementations.

Everything in it follows from fixed keys, so the file is the same each time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from pouw.client.receipts import receipt_to_json, sign
from pouw.keys import NodeKey
from pouw.protocol.canonical import encode_receipt, encode_token
from pouw.protocol.dids import did_from_key
from pouw.protocol.reasons import Detail
from pouw.protocol.tokens import encode_wire, sign_token, token_to_json
from pouw.protocol.types import MAX_INTEGER, Aux, ChallengeToken, Policy, ProofType, Receipt
from pouw.protocol.verdicts import Rejection, Verdict, signed_bytes

PATH = Path(__file__).parents[1] / "tests" / "data" / "vectors.json"

CLIENT = SigningKey(hashlib.sha256(b"pouw vectors: client").digest())
NODE = SigningKey(hashlib.sha256(b"pouw vectors: node").digest())
CLIENT_KEY, NODE_KEY = bytes(CLIENT.verify_key), bytes(NODE.verify_key)

PLAIN = Receipt(
    task_id=bytes(range(16)),
    client_did=did_from_key(CLIENT_KEY),
    client_node_id=CLIENT_KEY,
    content_id=hashlib.sha256(b"hello").digest(),
    proof_type=ProofType.HASH,
    bytes_verified=4096,
    result_ok=True,
    started_at=1_700_000_000,
    finished_at=1_700_000_001,
    receipt_nonce=bytes(range(32, 64)),
    challenge_nonce=bytes(range(64, 96)),
)
ROUTE = '{"manifest_cid":"bafybeigdyrzt"}'
SERVED = '{"manifest_cid":"bafybeigdyrzt","served_from_cache":true}'

RECEIPTS: dict[str, dict[str, Any]] = {
    "plain hash": {},
    "result not ok: the field is left out": {"result_ok": False},
    "no bytes: the field is left out": {"bytes_verified": 0},
    "times at zero: the fields are left out": {"started_at": 0, "finished_at": 0},
    "everything that can be empty is": {
        "bytes_verified": 0,
        "result_ok": False,
        "started_at": 0,
        "finished_at": 0,
        "content_id": b"\0",
        "task_id": bytes(16),
        "receipt_nonce": bytes(16),
        "challenge_nonce": bytes(16),
    },
    "merkle with evidence": {
        "proof_type": ProofType.MERKLE,
        "aux": Aux(merkle_root=bytes([0xAA]) * 32, proof_digest=bytes([0xBB]) * 32),
    },
    "signature with a provider": {"proof_type": ProofType.SIGNATURE, "provider_id": b"provider-7"},
    "aux present and empty: tag and length 0": {"aux": Aux()},
    "aux with a context only": {"aux": Aux(context="fetched twice")},
    "aux with a proof digest only": {"aux": Aux(proof_digest=b"\0")},
    "context in Unicode": {"aux": Aux(context="Grüße, 世界 🌍")},
    "context with characters that JSON escapes": {"aux": Aux(context='"\\/\b\f\n\r\t\x7f')},
    "web4 manifest route": {"proof_type": ProofType.WEB4_MANIFEST_ROUTE, "aux": Aux(context=ROUTE)},
    "web4 content served": {"proof_type": ProofType.WEB4_CONTENT_SERVED, "aux": Aux(context=SERVED)},
    "varint of one byte at its largest": {"bytes_verified": 127},
    "varint of two bytes at its smallest": {"bytes_verified": 128},
    "an integer above 2^53": {"bytes_verified": 2**53 + 1},
    "the largest integers": {"bytes_verified": MAX_INTEGER, "started_at": MAX_INTEGER, "finished_at": MAX_INTEGER},
    "the shortest identifiers": {
        "task_id": bytes(range(16)),
        "content_id": b"c",
        "receipt_nonce": bytes(range(16)),
        "challenge_nonce": bytes(range(16)),
    },
    "the longest identifiers": {
        "task_id": bytes([0xFF]) * 32,
        "provider_id": bytes([0xFE]) * 64,
        "content_id": bytes([0xFD]) * 64,
    },
    "a DID of 256 bytes": {"client_did": "did:zhtp:" + "d" * 247},
    "a DID outside ASCII": {"client_did": "did:zhtp:ä"},
    "every field at its largest": {
        "task_id": bytes([0xFF]) * 32,
        "client_did": "did:zhtp:" + "d" * 247,
        "provider_id": bytes([0xFF]) * 64,
        "content_id": bytes([0xFF]) * 64,
        "proof_type": ProofType.SIGNATURE,
        "bytes_verified": MAX_INTEGER,
        "started_at": MAX_INTEGER,
        "finished_at": MAX_INTEGER,
        "receipt_nonce": bytes([0xFF]) * 32,
        "challenge_nonce": bytes([0xFF]) * 32,
        "aux": Aux(bytes([0xFF]) * 64, bytes([0xFF]) * 64, "x" * 4096),
    },
}

# Members of the plain receipt replaced by what makes it malformed; None drops the member.
MALFORMED: dict[str, dict[str, Any]] = {
    "version 2": {"version": 2},
    "upper-case hex": {"task_id": "AB" * 16},
    "an odd number of digits": {"task_id": "abc" * 11},
    "task_id too short": {"task_id": "ab" * 15},
    "task_id too long": {"task_id": "ab" * 33},
    "content_id empty": {"content_id": ""},
    "content_id too long": {"content_id": "ab" * 65},
    "provider_id too long": {"provider_id": "ab" * 65},
    "key too short": {"client_node_id": "ab" * 31},
    "DID of 257 bytes": {"client_did": "did:zhtp:" + "d" * 248},
    "unknown proof type": {"proof_type": "proof-of-work"},
    "proof type by number": {"proof_type": 0},
    "a float": {"bytes_verified": 4096.0},
    "a negative integer": {"bytes_verified": -1},
    "an integer of 2^63": {"bytes_verified": 2**63},
    "an integer string with a leading zero": {"bytes_verified": "04096"},
    "a flag as a number": {"result_ok": 1},
    "it ends before it starts": {"started_at": 1_700_000_002},
    "nonce too short": {"receipt_nonce": "ab" * 15},
    "a member missing": {"finished_at": None},
    "an unknown member": {"comment": "hello"},
    "context of 4097 bytes": {"aux": {"context": "x" * 4097}},
    "merkle root too long": {"aux": {"merkle_root": "ab" * 65}},
    "aux with an unknown member": {"aux": {"note": "hello"}},
    "aux as a list": {"aux": []},
    "web4 without a context": {"proof_type": "web4manifestroute"},
    "web4 with an empty manifest_cid": {"proof_type": "web4manifestroute", "aux": '{"manifest_cid":""}'},
    "web4 served without served_from_cache": {"proof_type": "web4contentserved", "aux": ROUTE},
}


def build() -> dict[str, Any]:
    """Return the content of the file."""
    return {
        "client": {"seed": bytes(CLIENT).hex(), "public_key": CLIENT_KEY.hex(), "did": did_from_key(CLIENT_KEY)},
        "node": {"seed": bytes(NODE).hex(), "public_key": NODE_KEY.hex()},
        "receipts": [_receipt(name, changes) for name, changes in RECEIPTS.items()],
        "malformed": [{"name": name, "receipt": _malformed(changes)} for name, changes in MALFORMED.items()],
        "token": _token(),
        "verdict": _verdict(),
    }


def _receipt(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    receipt = dataclasses.replace(PLAIN, **changes)
    return {
        "name": name,
        "receipt": receipt_to_json(receipt),
        "canonical": encode_receipt(receipt).hex(),
        "signature": sign(receipt, CLIENT).signature.hex(),
    }


def _malformed(changes: dict[str, Any]) -> dict[str, Any]:
    receipt = receipt_to_json(PLAIN) | changes
    return {member: value for member, value in receipt.items() if value is not None}


def _token() -> dict[str, Any]:
    token = sign_token(
        ChallengeToken(
            node_id=NODE_KEY,
            task_id=bytes(range(16)),
            challenge_nonce=bytes(range(64, 96)),
            issued_at=1_700_000_000,
            expires_at=1_700_000_300,
            policy=Policy(100, 2**40, 1024, (ProofType.HASH, ProofType.MERKLE)),
        ),
        NodeKey(NODE).sign,
    )
    return {"json": token_to_json(token), "canonical": encode_token(token).hex(), "wire": encode_wire(token)}


def _verdict() -> dict[str, Any]:
    body = b'{"an example":"of a body"}'
    verdict = Verdict(
        batch_digest=hashlib.sha256(body).digest(),
        node_id=NODE_KEY,
        accepted=(bytes(range(32, 64)), bytes(range(16))),
        rejected=(Rejection(1, bytes(range(16)), Detail.DUPLICATE_NONCE), Rejection(3, None, Detail.MALFORMED_RECEIPT)),
        server_time=1_700_000_002,
    )
    return {
        "body": body.decode(),
        "accepted": [nonce.hex() for nonce in verdict.accepted],
        "rejected": [
            {
                "index": rejection.index,
                "receipt_nonce": rejection.receipt_nonce.hex() if rejection.receipt_nonce else None,
                "reason": rejection.detail.reason,
                "detail": rejection.detail,
            }
            for rejection in verdict.rejected
        ],
        "server_time": verdict.server_time,
        "batch_digest": verdict.batch_digest.hex(),
        "signed_bytes": signed_bytes(verdict).hex(),
        "signature": NODE.sign(signed_bytes(verdict)).signature.hex(),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(build(), indent=1) + "\n")
    sys.stdout.write(f"{PATH.name} written\n")
