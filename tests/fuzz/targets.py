"""What is fuzzed, and what has to hold for every input; each target takes any bytes and raises where it does not.

The decoders are driven as the server drives them. Whatever they accept or refuse, :mod:`tests.fuzz.model` has to
judge the same, and what is accepted has to have the bytes that the Python encoder writes, in both encodings.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from nacl.signing import SigningKey

from pouw import _fastverify
from pouw.client.receipts import receipt_to_json
from pouw.errors import BodyError
from pouw.protocol.canonical import encode_receipt
from pouw.protocol.types import NONCE_BYTES
from pouw.web import bodies, json_body
from pouw.web.problems import Problem
from pouw.web.wire import JSON, PROTOBUF
from tests import ed25519
from tests.fuzz import model
from tests.unit.wire import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_DIGITS = re.compile(rb"[0-9]+")
MOST = 4  # receipts in a batch: few, so that inputs beyond it stay short
_MOST_DEPTH, _MOST_DIGITS, _MOST_VALUES = 16, 20, 64 + 32 * MOST


def fuzz_json(body: bytes) -> None:
    """The body of a JSON batch, from its bytes to its receipts."""
    _load_batch(body, JSON)
    try:
        value = json_body.load(body, MOST)
    except BodyError as error:
        _check_refused_json(body, error.kind)
        return
    pairs = _Pairs()
    assert pairs.parse(body) == value
    assert not pairs.repeated
    receipts = value.get("receipts") if type(value) is dict else value
    for item in receipts if type(receipts) is list else [receipts]:
        [decoded] = _fastverify.decode_json([item])
        _check_json_item(item, decoded)


def _load_batch(body: bytes, content_type: str) -> None:
    try:
        batch = bodies.load_batch(body, content_type, MOST)
    except (BodyError, Problem):
        return
    assert 0 < len(batch.receipts) <= MOST


class _Pairs:
    """Python's own JSON parser, made as strict as the node promises to be, and counting what it builds."""

    def __init__(self) -> None:
        self.members = 0
        self.repeated = False

    def parse(self, body: bytes) -> Any:
        value = json.loads(
            body.decode(), object_pairs_hook=self._object, parse_constant=self._refuse, parse_int=_integer,
            parse_float=_number,
        )  # fmt: skip
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate has no UTF-8
        return value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        self.members += len(pairs)
        self.repeated |= len(value) != len(pairs)
        return value

    @staticmethod
    def _refuse(name: str) -> Any:
        raise ValueError(name)


def _integer(digits: str) -> int | float:
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else _number(digits)  # orjson's integers end here


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(digits)
    return value


def _check_refused_json(body: bytes, kind: str) -> None:
    """Nothing is refused without its reason."""
    _members, values, depth, digits = scan(body)
    if kind == "json-too-deep":
        assert depth > _MOST_DEPTH
    elif kind == "too-many-values":
        assert values > _MOST_VALUES
    elif kind == "number-too-long":
        assert digits > _MOST_DIGITS
    else:
        pairs = _Pairs()
        try:
            pairs.parse(body)
        except ValueError:
            assert kind == "not-json"
        else:
            assert kind == "duplicate-member"
            assert pairs.repeated


def _check_json_item(value: Any, decoded: _fastverify.SignedReceipt) -> None:
    try:
        item = model.item_from_json(value)
    except model.Malformed:
        assert decoded.fault
        assert decoded.receipt_nonce == _nonce(value)
        return
    _check_decoded(item, decoded)
    [twin] = _fastverify.decode_protobuf([model.wrap(item)])
    _check_decoded(item, twin)


def _nonce(value: Any) -> bytes | None:
    """What names a malformed receipt in the answer."""
    try:
        return model.hexadecimal(value["receipt"]["receipt_nonce"], NONCE_BYTES)
    except (model.Malformed, KeyError, TypeError, IndexError):
        return None


def _check_decoded(item: model.Item, decoded: _fastverify.SignedReceipt) -> None:
    receipt = item.receipt
    assert decoded.fault is None
    assert decoded.body == encode_receipt(receipt)
    assert (decoded.sig_scheme, decoded.signature) == (item.scheme, item.signature)
    for name in ("client_did", "client_node_id", "task_id", "receipt_nonce", "challenge_nonce", "proof_type",
                 "result_ok", "bytes_verified", "started_at", "finished_at"):  # fmt: skip
        assert getattr(decoded, name) == getattr(receipt, name), name


def fuzz_batch(body: bytes) -> None:
    """The body of a protobuf batch, from its bytes to its receipts."""
    _load_batch(body, PROTOBUF)
    try:
        version, did, nonce, items = _fastverify.split_batch(body, MOST)
    except ValueError:
        assert not _is_canonical_batch(body)
        return
    encoded = model.encode_batch(version, did, nonce, items)
    assert body == encoded if len(items) <= MOST else body.startswith(encoded)
    for item in items:
        fuzz_receipt(item)


def _is_canonical_batch(body: bytes) -> bool:
    message = MESSAGES["ReceiptBatch"]()
    try:
        message.ParseFromString(body)
    except DecodeError:
        return False
    fields = (message.version, message.client_did.encode(), message.batch_nonce, list(message.receipts))
    return model.encode_batch(*fields) == body


def fuzz_receipt(data: bytes) -> None:
    """One item of a protobuf batch."""
    [decoded] = _fastverify.decode_protobuf([data])
    try:
        item = model.item_from_protobuf(data)
    except model.Malformed:
        assert decoded.fault
        assert decoded.receipt_nonce is None or decoded.receipt_nonce in data
        return
    _check_decoded(item, decoded)
    value = {"receipt": receipt_to_json(item.receipt), "sig_scheme": item.scheme, "signature": item.signature.hex()}
    [twin] = _fastverify.decode_json([value])
    _check_decoded(item, twin)


def fuzz_scan(body: bytes) -> None:
    """The scan of a body, which sees bytes before any parser does."""
    assert _fastverify.scan_json(body) == scan(body)
    pairs = _Pairs()
    try:
        value = pairs.parse(body)
    except (ValueError, RecursionError):
        return
    assert _fastverify.scan_json(body)[0] == pairs.members
    assert _fastverify.count_members(value) == pairs.members or pairs.repeated


def scan(body: bytes) -> tuple[int, int, int, int]:
    """Do what ``scan_json`` promises to do, on the text without its strings."""
    text = _STRING.sub(b'"', body)
    members = text.count(b":")
    values = text.count(b",") + text.count(b"{") + text.count(b"[")
    depths = itertools.accumulate((1 if bracket in b"{[" else -1 for bracket in _BRACKET.findall(text)), initial=0)
    return members, values, max(depths), max(map(len, _DIGITS.findall(text)), default=0)


def fuzz_signatures(data: bytes) -> None:
    """Signatures under one key: honest ones, where the input is all zeros, and what its other bytes make of them."""
    public, honest = signed()
    key = xored(public, data[:32])
    jobs = [
        (message, xored(signature, data[at : at + 64]))
        for (message, signature), at in zip(honest, range(32, len(data), 64), strict=False)
    ]
    expected = bytes([ed25519.is_valid(*job, key) for job in jobs])
    messages, signatures = [message for message, _ in jobs], [signature for _, signature in jobs]
    for engine, path in itertools.product(_fastverify.ENGINES, _fastverify.PATHS):
        assert _fastverify.verify(messages, signatures, _fastverify.PublicKey(key), engine, path) == expected


@functools.cache
def signed() -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return a public key and some messages that it signed, of sizes about the ends of SHA-512's blocks."""
    key = SigningKey(bytes(range(32)))
    messages = [bytes(size) for size in (0, 46, 47, 48, 63, 64, 175, 260)]
    return bytes(key.verify_key), [(message, key.sign(message).signature) for message in messages]


def xored(data: bytes, changes: bytes) -> bytes:
    """Return ``data`` with the bits of ``changes`` turned, as far as there are any."""
    return bytes(byte ^ change for byte, change in itertools.zip_longest(data, changes[: len(data)], fillvalue=0))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "json": fuzz_json,
    "batch": fuzz_batch,
    "receipt": fuzz_receipt,
    "scan": fuzz_scan,
    "signatures": fuzz_signatures,
}
