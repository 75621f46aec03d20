"""One example for each message of the API description. The receipt is the plain one of the test vectors."""

from __future__ import annotations

from typing import Any

_DID = "did:key:z6Mkm86ZK6TusvYpYYfkQMtLgCQDMx5hNP34hh24nVqW77sR"
_KEY = "63190ba57c914c753c18e4b23929f7bd4aefb3d92fd42b98be9121e435e8b484"
_NODE = "4f4894ebd2c87a40492abfb8053a441c97db76e95f42d518a0fbe352ad176581"
_NONCE = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
_SIGNATURE = (
    "b6d988c416d5522a3f9ced2dbee3c9dc4ed16438d6ae5fee172cd74d7cdba71c"
    "5aefbe7353ea29a08f62533adbd30be33bc629dbc67a29cf41858bbd7ef03706"
)
_REJECTION = {"index": 1, "receipt_nonce": None, "reason": "BAD_PROOF", "detail": "malformed_receipt"}

_RECEIPT = {
    "version": 1,
    "task_id": "000102030405060708090a0b0c0d0e0f",
    "client_did": _DID,
    "client_node_id": _KEY,
    "content_id": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "proof_type": "hash",
    "bytes_verified": 4096,
    "result_ok": True,
    "started_at": 1700000000,
    "finished_at": 1700000001,
    "receipt_nonce": _NONCE,
    "challenge_nonce": "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f",
}

_BLOCK = {
    "subject": "203.0.113.0/24",
    "reason": "Floods the node.",
    "by": "cli:root",
    "since": 1700000000,
    "expires_at": None,
}

EXAMPLES: dict[str, Any] = {
    "SessionSchema": {"did": _DID, "token": "5f" * 32, "ends_at": 1700028800},
    "BoardSchema": {
        "at": 1700000000.5,
        "health": {"status": "ok", "ready": True, "components": {"database": {"status": "ok", "ms": 0.4}}},
        "series": [{"name": "pouw_receipts_accepted_total", "labels": {}, "value": 1200.0}],
        "epochs": {"epoch": 43, "budget_left_atoms": "1000000000000"},
        "counts": {"closed": {"epochs": 42, "receipts": 900}},
        "jobs": [{"name": "epochs", "finished_at": 1699999990.0}],
        "backup_at": None,
        "promises": {"credited_once": 0},
        "disputes_open": 1,
        "keys": [{"public_key": _NODE, "state": "active", "valid_from": 1690000000, "valid_until": None}],
        "refused": [{"did": _DID, "rejected": 12, "proven": 3}],
        "over_quota": [{"scope": "IP", "name": "203.0.113.9", "times": 40}],
    },
    "BatchSchema": {
        "version": 1,
        "client_did": _DID,
        "batch_nonce": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "receipts": [{"receipt": _RECEIPT, "sig_scheme": "ed25519", "signature": _SIGNATURE}],
    },
    "SubmitAnswerSchema": {
        "accepted": [_NONCE],
        "rejected": [_REJECTION],
        "server_time": 1700000002,
        "verdict": {"batch_digest": "1d" * 32, "node_id": _NODE, "signature": "1a" * 64},
    },
    "ChallengeSchema": {"token": "eyJ2ZXJzaW9uIjox", "expires_at": 1700000300, "server_time": 1700000000},
    "IdentityBodySchema": {"did": "did:zhtp:0123456789abcdef", "public_key": _KEY},
    "KeyBodySchema": {"public_key": _KEY},
    "IdentitySchema": {
        "did": "did:zhtp:0123456789abcdef",
        "public_key": _KEY,
        "created_at": 1700000000,
        "retired_at": None,
    },
    "IdentityPageSchema": {"items": [], "next": None},
    "PageSchema": {"items": [{"id": 7, "receipt_nonce": _NONCE}], "next": "7"},
    "NodeSchema": {
        "node_id": _NODE,
        "version": "0.1.0",
        "protocol": 1,
        "verify_engine": "batch",
        "keys": [{"public_key": _NODE, "state": "active", "valid_from": 1700000000, "valid_until": None}],
        "limits": {"batch_size_max": 100},
    },
    "HealthSchema": {"status": "ok", "ready": True},
    "LiveSchema": {"status": "ok"},
    "ProblemSchema": {
        "type": "urn:pouw:problem:bad-envelope",
        "title": "The batch's envelope is not as it should be.",
        "status": 422,
        "instance": "urn:pouw:request:5a1c6f0e2b7d4c8f9a3e1d2c4b5a6978",
        "detail": "Missing data for required field.",
        "errors": [{"path": "/client_did", "message": "Missing data for required field."}],
    },
    "DisputeBodySchema": {
        "subject": "receipt",
        "subject_id": _NONCE,
        "claim": "It was rejected as too small, and it was not.",
        "evidence": "The content has 4,096 bytes.",
    },
    "EntryBodySchema": {"content": "The content has 4,096 bytes."},
    "ResolveBodySchema": {
        "state": "resolved_for_claimant",
        "explanation": "The policy was wrong that day.",
        "compensation_atoms": "1000000000000",
    },
    "DisputeSchema": {
        "id": 1,
        "client_did": _DID,
        "subject": "receipt",
        "subject_id": _NONCE,
        "claim": "It was rejected as too small, and it was not.",
        "state": "open",
        "explanation": None,
        "compensation_atoms": None,
        "filed_at": 1700000000,
        "changed_at": 1700000000,
        "known": True,
    },
    "EpochSchema": {
        "epoch": 7,
        "manifest": {"version": 1, "epoch": 7, "receipts": 3, "allocated_atoms": "6000000000000"},
        "node_id": _NODE,
        "signature": _SIGNATURE,
    },
    "ProofSchema": {
        "tree_size": 2,
        "root": _KEY,
        "proofs": [{"index": 0, "leaf_hash": _NODE, "path": [_KEY]}],
    },
    "StatusSchema": {
        "epoch": 8,
        "epoch_starts_at": 1700000000,
        "epoch_ends_at": 1700003600,
        "last_closed_epoch": 7,
        "rules": {"unit_atoms": "1000000000000"},
        "budget_left_atoms": "2099999999994000000000000",
    },
    "StatsSchema": {
        "closed": {"epochs": 8, "receipts": 3},
        "atoms": {"computed": "6000000000000", "allocated": "6000000000000", "unallocated": "0", "paid": "0"},
        "present": {"batches": 1, "accepted": 2, "rejected": 0, "tallied_at": 1700000030},
    },
    "QuotaSchema": {
        "limits": [{"scope": "IP", "limit": 100, "remaining": 97, "reset_secs": 12, "window_secs": 60}],
        "local": False,
    },
    "SubjectBodySchema": {"subject": "203.0.113.0/24"},
    "BlockBodySchema": {"subject": "203.0.113.0/24", "reason": "Floods the node.", "expires_at": None},
    "OverrideBodySchema": {
        "subject": _DID,
        "per_minute": 500,
        "reason": "A partner's gateway.",
        "expires_at": 4102444800,
    },
    "BlockListSchema": {"items": [_BLOCK]},
    "OverrideListSchema": {"items": [_BLOCK | {"per_minute": 500, "expires_at": 4102444800}]},
}
"""Keyed by the name of the schema."""
