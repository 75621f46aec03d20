"""Challenge tokens: signed, readable, and not to be edited."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from pouw.errors import TokenError
from pouw.keys import NodeKey
from pouw.protocol.canonical import encode_token
from pouw.protocol.tokens import decode_wire, encode_wire, sign_token, token_to_json
from pouw.protocol.types import ChallengeToken, Policy, ProofType
from tests.unit.strategies import integers, nonces
from tests.unit.wire import token_to_protobuf

KEY = SigningKey(b"n" * 32)
small = st.integers(0, 2**32 - 1)
policies = st.builds(Policy, small, integers, integers, st.lists(st.sampled_from(ProofType), max_size=5).map(tuple))
tokens = st.builds(
    ChallengeToken,
    node_id=st.just(bytes(KEY.verify_key)),
    task_id=nonces,
    challenge_nonce=nonces,
    issued_at=integers,
    expires_at=integers,
    policy=policies,
)


@given(tokens)
def test_signed_bytes_are_canonical_protobuf(token: ChallengeToken) -> None:
    assert encode_token(token) == token_to_protobuf(token)


@given(tokens)
def test_a_signed_token_survives_the_wire(token: ChallengeToken) -> None:
    signed = sign_token(token, NodeKey(KEY).sign)
    assert decode_wire(encode_wire(signed)) == signed


TOKEN = sign_token(
    ChallengeToken(
        node_id=bytes(KEY.verify_key),
        task_id=b"t" * 16,
        challenge_nonce=b"c" * 32,
        issued_at=1_700_000_000,
        expires_at=1_700_000_300,
        policy=Policy(100, 2**40, 1024, (ProofType.HASH,)),
    ),
    NodeKey(KEY).sign,
)


def wire(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize("name", ["task_id", "challenge_nonce", "issued_at", "expires_at", "node_id"])
def test_an_edited_token_is_refused(name: str) -> None:
    value = token_to_json(TOKEN)
    value[name] = value[name] + 1 if isinstance(value[name], int) else "ab" * (len(value[name]) // 2)
    with pytest.raises(TokenError, match="signature"):
        decode_wire(wire(value))


def test_an_edited_policy_is_refused() -> None:
    richer = dataclasses.replace(TOKEN, policy=dataclasses.replace(TOKEN.policy, max_receipts=101))
    with pytest.raises(TokenError, match="signature"):
        decode_wire(encode_wire(richer))


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1"},
        {"version": True},
        {"task_id": "zz" * 16},
        {"task_id": "AB" * 16},
        {"task_id": "ab"},
        {"issued_at": -1},
        {"issued_at": 2**63},
        {"policy": None},
        {"policy": {}},
        {"node_signature": ""},
    ],
)
def test_what_is_no_token(change: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        decode_wire(wire(token_to_json(TOKEN) | change))


@pytest.mark.parametrize("text", ["", "!", "bnVsbA==", "W10=", "e30=", base64.b64encode(b"[" * 9999).decode()])
def test_text_that_is_no_token(text: str) -> None:
    with pytest.raises(TokenError):
        decode_wire(text)


def test_another_version_is_refused() -> None:
    later = sign_token(dataclasses.replace(TOKEN, version=2), NodeKey(KEY).sign)
    with pytest.raises(TokenError, match="version 2"):
        decode_wire(encode_wire(later))
