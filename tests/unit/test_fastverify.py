"""The C side: signatures, canonical bytes, and the scan of a body."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nacl._sodium
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from pouw import _fastverify
from pouw.client.receipts import receipt_to_json
from pouw.protocol.canonical import encode_receipt
from tests.unit.strategies import receipts
from tests.unit.wire import to_protobuf

if TYPE_CHECKING:
    from pouw.protocol.types import Receipt

RFC_8032 = json.loads((Path(__file__).parent.parent / "data" / "rfc8032.json").read_text())


@pytest.mark.parametrize("vector", RFC_8032, ids=lambda vector: vector["name"])
def test_verifies_the_vectors_of_rfc_8032(vector: dict[str, str]) -> None:
    key, message, signature = (bytes.fromhex(vector[name]) for name in ("public_key", "message", "signature"))
    assert verify([message], [signature], key) == b"\1"
    assert bytes(SigningKey(bytes.fromhex(vector["secret_key"])).sign(message).signature) == signature


def verify(messages: list[bytes], signatures: list[bytes], key: bytes) -> bytes:
    """Verify with every engine on every path, and return the answer that they agree about."""
    public = _fastverify.PublicKey(key)
    ways = itertools.product(_fastverify.ENGINES, _fastverify.PATHS)
    [answer] = {_fastverify.verify(messages, signatures, public, *way) for way in ways}
    return answer


def pynacl(message: bytes, signature: bytes, key: bytes) -> bool:
    try:
        VerifyKey(key).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def test_agrees_with_pynacl_on_every_flipped_byte() -> None:
    """Of the signature, the key and the message, each byte in turn."""
    key = SigningKey(b"k" * 32)
    message, public = b"useful work" * 5, bytes(key.verify_key)
    signature = key.sign(message).signature
    assert verify([message], [signature], public) == b"\1"
    cases = [(message, flipped, public) for flipped in flips(signature)]
    cases += [(flipped, signature, public) for flipped in flips(message)]
    cases += [(message, signature, flipped) for flipped in flips(public)]
    for case in cases:
        expected = pynacl(*case)
        assert (verify([case[0]], [case[1]], case[2]) == b"\1") == expected
        assert not expected


def flips(data: bytes) -> list[bytes]:
    return [data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :] for at in range(len(data))]


@given(st.lists(st.tuples(st.binary(max_size=300), st.sampled_from(["valid", "message", "signature", "other"]))))
def test_a_batch_says_of_each_what_pynacl_says_of_it_alone(cases: list[tuple[bytes, str]]) -> None:
    key, other = SigningKey(b"a" * 32), SigningKey(b"b" * 32)
    messages, signatures = [], []
    for message, kind in cases:
        signature = (other if kind == "other" else key).sign(message).signature
        messages.append(message + b"!" if kind == "message" else message)
        signatures.append(flips(signature)[len(message) % 64] if kind == "signature" else signature)
    public = bytes(key.verify_key)
    expected = [pynacl(*pair, public) for pair in zip(messages, signatures, strict=True)]
    assert [valid == 1 for valid in verify(messages, signatures, public)] == expected
    assert expected == [kind == "valid" for _message, kind in cases]


def test_a_signature_of_another_length_is_wrong_not_an_error() -> None:
    key = SigningKey(b"k" * 32)
    signature = key.sign(b"m").signature
    signatures = [b"", signature[:-1], signature + b"\0", signature]
    assert verify([b"m"] * 4, signatures, bytes(key.verify_key)) == b"\0\0\0\1"


def test_verify_refuses_what_it_cannot_read() -> None:
    key = _fastverify.PublicKey(b"k" * 32)
    with pytest.raises(ValueError, match="32 bytes"):
        _fastverify.PublicKey(b"short")
    with pytest.raises(ValueError, match="as many"):
        _fastverify.verify([b""], [], key)
    with pytest.raises(TypeError, match="bytes"):
        _fastverify.verify(["text"], [b""], key)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no engine 'fast'"):
        _fastverify.verify([b""], [b""], key, "fast")
    with pytest.raises(ValueError, match="no path 'mmx'"):
        _fastverify.verify([b""], [b""], key, "batch", "mmx")
    assert _fastverify.verify([], [], key) == b""


def test_a_library_that_is_not_there_is_an_import_error(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="cannot be opened"):
        _fastverify.bind_libsodium(str(tmp_path / "missing.so"))


def test_a_library_without_libsodium_is_an_import_error() -> None:
    other = sys.modules["orjson.orjson"].__file__
    with pytest.raises(ImportError, match="does not"):
        _fastverify.bind_libsodium(str(other))
    _fastverify.bind_libsodium(nacl._sodium.__file__)


def item(receipt: Receipt) -> dict[str, Any]:
    return {"receipt": receipt_to_json(receipt), "sig_scheme": "ed25519", "signature": "ab" * 64}


@given(receipts())
def test_canonical_bytes_are_those_of_python_and_of_google(receipt: Receipt) -> None:
    [decoded] = _fastverify.decode_json([item(receipt)])
    assert decoded.fault is None
    assert decoded.body == encode_receipt(receipt) == to_protobuf(receipt)
    assert decoded.receipt_nonce == receipt.receipt_nonce
    assert decoded.challenge_nonce == receipt.challenge_nonce
    assert decoded.task_id == receipt.task_id
    assert decoded.client_did == receipt.client_did
    assert decoded.client_node_id == receipt.client_node_id
    assert (decoded.proof_type, decoded.result_ok) == (receipt.proof_type, receipt.result_ok)
    assert decoded.bytes_verified == receipt.bytes_verified
    assert (decoded.started_at, decoded.finished_at) == (receipt.started_at, receipt.finished_at)
    assert (decoded.sig_scheme, decoded.signature) == ("ed25519", b"\xab" * 64)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(receipts(), st.data())
def test_no_value_in_any_member_is_more_than_malformed(receipt: Receipt, data: st.DataObject) -> None:
    """A member replaced by anything, dropped or added never raises, and never changes another's meaning."""
    value = item(receipt)
    inner = value["receipt"]
    holder = data.draw(st.sampled_from([value, inner, inner.get("aux") or inner]))
    name = data.draw(st.sampled_from(sorted(holder)) | st.text(max_size=5))
    if data.draw(st.booleans()):
        holder[name] = data.draw(json_values)
    else:
        holder.pop(name, None)
    [decoded] = _fastverify.decode_json([value])
    if decoded.fault is None:
        assert len(decoded.body) > 100
    else:
        assert decoded.receipt_nonce in (None, receipt.receipt_nonce) or name == "receipt_nonce"


@given(json_values)
def test_any_item_is_decoded_or_malformed(value: Any) -> None:
    [decoded] = _fastverify.decode_json([value])
    assert decoded.fault
    assert decoded.receipt_nonce is None


def test_lone_surrogates_are_malformed() -> None:
    """No parser of ours lets them through; the decoder does not rely on that."""
    value = {"receipt": {"receipt_nonce": "\ud800"}, "sig_scheme": "ed25519", "signature": "\ud800"}
    [decoded] = _fastverify.decode_json([value])
    assert decoded.fault == "receipt.receipt_nonce: must be a string of lower-case hex"


@given(json_values)
def test_the_scan_counts_members_and_depth_as_the_parser_does(value: Any) -> None:
    text = json.dumps(value).encode()
    members, values, depth, _digits = _fastverify.scan_json(text)
    assert members == _fastverify.count_members(value)
    assert depth == deepest(value)
    assert values >= members - 1


def deepest(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(deepest, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(deepest, value), default=0)
    return 0


@given(st.binary(max_size=200))
def test_the_scan_takes_any_bytes(data: bytes) -> None:
    _fastverify.scan_json(data)


def test_the_scan_sees_a_repeated_name_that_the_parser_drops() -> None:
    text = b'{"a": 1, "b": [{"c": 1, "c": ":{,"}]}'
    assert _fastverify.scan_json(text)[0] == 4
    assert _fastverify.count_members(orjson.loads(text)) == 3
