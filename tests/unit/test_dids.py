"""DIDs: the key inside a did:key, and what is not one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from pouw.errors import DidError
from pouw.protocol.dids import did_from_key, is_did, key_from_did

# From the did:key method's own test vectors (W3C CCG), Ed25519.
KNOWN = {
    "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp": (
        "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    ),
}


@pytest.mark.parametrize(("did", "key"), KNOWN.items())
def test_known_dids(did: str, key: str) -> None:
    assert key_from_did(did).hex() == key
    assert did_from_key(bytes.fromhex(key)) == did


@given(st.binary(min_size=32, max_size=32))
def test_every_key_survives_the_round_trip(seed: bytes) -> None:
    key = bytes(SigningKey(seed).verify_key)
    assert key_from_did(did_from_key(key)) == key


DID = next(iter(KNOWN))


@pytest.mark.parametrize(
    "did",
    [
        "",
        "did:key:",
        "did:key:z",
        "did:key:zzz",
        DID[:-1],
        DID + "1",
        DID.replace("did:key:z", "did:key:z1"),
        DID.replace("did:key:z", "did:key:Z"),
        DID.replace("z6Mk", "z6mk"),
        DID.upper(),
        DID.replace("did:key:z", "did:key:m"),
        DID[:-1] + "0",
        DID[:-1] + "l",
        "did:web:example.com",
        "did:key:z" + "z" * 47,
        "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",  # an X25519 key
    ],
)
def test_what_is_no_ed25519_did_key(did: str) -> None:
    with pytest.raises(DidError):
        key_from_did(did)


@pytest.mark.parametrize(
    "key",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",  # the neutral element
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # not canonical
        "0200000000000000000000000000000000000000000000000000000000000000",  # not on the curve
    ],
)
def test_keys_that_name_no_client(key: str) -> None:
    with pytest.raises(DidError, match="prime order"):
        did_from_key(bytes.fromhex(key))


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(DidError, match="32 bytes"):
        did_from_key(b"short")


@pytest.mark.parametrize("did", [DID, "did:zhtp:abc", "did:web:example.com%3A8080:path", "did:a:b:c"])
def test_syntax_of_dids(did: str) -> None:
    assert is_did(did)


@pytest.mark.parametrize("did", ["", "did", "did:", "did::x", "did:Key:x", "did:a:b:", "did:a:b c", "did:a:b\n"])
def test_what_has_not_the_syntax_of_a_did(did: str) -> None:
    assert not is_did(did)
