"""What docs/protocol.md says of a receipt, in plain Python: the second opinion that the C decoder is held to.

It builds the values of :mod:`pouw.protocol.types` and leaves their bytes to the Python encoder, so that no line of
it is shared with the extension. Google's library takes protobuf bytes apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import DecodeError

from pouw.protocol.canonical import bytes_field, encode_receipt, integer_field, message_field
from pouw.protocol.types import (
    CONTENT_ID_BYTES,
    CONTEXT_BYTES,
    DID_BYTES,
    DIGEST_BYTES,
    KEY_BYTES,
    MAX_INTEGER,
    NONCE_BYTES,
    PROOF_TYPE_NAMES,
    PROVIDER_ID_BYTES,
    VERSION,
    Aux,
    ProofType,
    Receipt,
)
from tests.unit.wire import MESSAGES

_KEY = range(KEY_BYTES, KEY_BYTES + 1)
_HEX = re.compile(r"(?:[0-9a-f]{2})*\Z")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z", re.ASCII)
_NEEDED = {
    "version", "task_id", "client_did", "client_node_id", "content_id", "proof_type", "bytes_verified", "result_ok",
    "started_at", "finished_at", "receipt_nonce", "challenge_nonce",
}  # fmt: skip
_OPTIONAL = {"provider_id", "aux"}


class Malformed(Exception):
    """The receipt breaks a rule of the protocol."""


@dataclass(frozen=True)
class Item:
    """One item of a batch."""

    receipt: Receipt
    scheme: str
    signature: bytes


def require(condition: bool) -> None:
    if not condition:
        raise Malformed


def item_from_json(value: Any) -> Item:
    """Read an item of a JSON batch."""
    require(type(value) is dict and set(value) == {"receipt", "sig_scheme", "signature"})
    require(type(value["sig_scheme"]) is str)
    return Item(_receipt(value["receipt"]), value["sig_scheme"], hexadecimal(value["signature"], None))


def item_from_protobuf(data: bytes) -> Item:
    """Read a canonical ``SignedReceipt``."""
    message = MESSAGES["SignedReceipt"]()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed from None
    fields = {field.name: getattr(message.receipt, field.name) for field in message.receipt.DESCRIPTOR.fields}
    aux = fields.pop("aux")
    fields["aux"] = Aux(aux.merkle_root, aux.proof_digest, aux.context) if message.receipt.HasField("aux") else None
    require(fields["proof_type"] in list(ProofType))
    item = Item(_checked(Receipt(**fields | {"proof_type": ProofType(fields["proof_type"])})), *_rest(message))
    require(wrap(item) == data)
    return item


def _rest(message: Any) -> tuple[str, bytes]:
    return message.sig_scheme, message.signature


def wrap(item: Item) -> bytes:
    """Encode a canonical ``SignedReceipt``."""
    receipt = message_field(1, encode_receipt(item.receipt))
    return receipt + bytes_field(2, item.scheme) + bytes_field(3, item.signature)


def encode_batch(version: int, did: bytes, nonce: bytes, items: list[bytes]) -> bytes:
    """Encode a canonical ``ReceiptBatch``."""
    head = integer_field(1, version) + bytes_field(2, did) + bytes_field(3, nonce)
    return head + b"".join(message_field(4, item) for item in items)


def hexadecimal(value: Any, sizes: range | None) -> bytes:
    require(type(value) is str and _HEX.match(value) is not None)
    require(sizes is None or len(value) // 2 in sizes)
    return bytes.fromhex(value)


def _optional_hex(value: Any, sizes: range) -> bytes:
    return b"" if value is None else hexadecimal(value, sizes)


def _integer(value: Any) -> int:
    if type(value) is str and _DECIMAL.match(value):
        value = int(value)
    require(type(value) is int and 0 <= value <= MAX_INTEGER)
    return int(value)


def _receipt(value: Any) -> Receipt:
    require(type(value) is dict and value.keys() >= _NEEDED and value.keys() <= _NEEDED | _OPTIONAL)
    require(type(value["client_did"]) is str and type(value["result_ok"]) is bool)
    require(type(value["proof_type"]) is str and value["proof_type"] in PROOF_TYPE_NAMES)
    return _checked(
        Receipt(
            version=_integer(value["version"]),
            task_id=hexadecimal(value["task_id"], NONCE_BYTES),
            client_did=value["client_did"],
            client_node_id=hexadecimal(value["client_node_id"], _KEY),
            provider_id=_optional_hex(value.get("provider_id"), PROVIDER_ID_BYTES),
            content_id=hexadecimal(value["content_id"], CONTENT_ID_BYTES),
            proof_type=PROOF_TYPE_NAMES[value["proof_type"]],
            bytes_verified=_integer(value["bytes_verified"]),
            result_ok=value["result_ok"],
            started_at=_integer(value["started_at"]),
            finished_at=_integer(value["finished_at"]),
            receipt_nonce=hexadecimal(value["receipt_nonce"], NONCE_BYTES),
            challenge_nonce=hexadecimal(value["challenge_nonce"], NONCE_BYTES),
            aux=_aux(value.get("aux")),
        )
    )


def _aux(value: Any) -> Aux | None:
    if value is None:
        return None
    if type(value) is str:
        return Aux(context=value)
    require(type(value) is dict and value.keys() <= {"merkle_root", "proof_digest", "context"})
    context = "" if value.get("context") is None else value["context"]
    require(type(context) is str)
    root, digest = (_optional_hex(value.get(name), DIGEST_BYTES) for name in ("merkle_root", "proof_digest"))
    return Aux(root, digest, context)


def _checked(receipt: Receipt) -> Receipt:
    require(receipt.version == VERSION)
    require(len(receipt.task_id) in NONCE_BYTES and len(receipt.client_did.encode()) in DID_BYTES)
    require(len(receipt.client_node_id) in _KEY and len(receipt.provider_id) in PROVIDER_ID_BYTES)
    require(len(receipt.content_id) in CONTENT_ID_BYTES)
    require(max(receipt.bytes_verified, receipt.finished_at) <= MAX_INTEGER)
    require(receipt.started_at <= receipt.finished_at)
    require(len(receipt.receipt_nonce) in NONCE_BYTES and len(receipt.challenge_nonce) in NONCE_BYTES)
    aux = receipt.aux or Aux()
    require(len(aux.merkle_root) in DIGEST_BYTES and len(aux.proof_digest) in DIGEST_BYTES)
    require(len(aux.context.encode()) in CONTEXT_BYTES)
    if receipt.proof_type >= ProofType.WEB4_MANIFEST_ROUTE:
        _check_context(aux.context, receipt.proof_type)
    return receipt


def _check_context(context: str, proof_type: ProofType) -> None:
    try:
        value = orjson.loads(context)
    except orjson.JSONDecodeError:
        raise Malformed from None
    require(type(value) is dict and type(value.get("manifest_cid")) is str and bool(value["manifest_cid"]))
    require(proof_type == ProofType.WEB4_MANIFEST_ROUTE or type(value.get("served_from_cache")) is bool)
