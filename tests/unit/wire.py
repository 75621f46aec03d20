"""The protocol's messages as Google's protobuf library sees them: an encoder that shares no code with ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pouw.client.receipts import SignedReceipt
    from pouw.protocol.types import ChallengeToken, Receipt

_KINDS = {"uint32": 13, "uint64": 4, "bytes": 12, "string": 9, "bool": 8, "ProofType": 14}
_MESSAGES = {
    "Policy": [
        "uint32 max_receipts",
        "uint64 max_bytes_total",
        "uint64 min_bytes_per_receipt",
        "*ProofType allowed_proof_types",
    ],
    "Rejection": ["uint32 index", "bytes receipt_nonce", "string reason", "string detail"],
    "VerdictSignature": ["bytes batch_digest", "bytes node_id", "bytes signature"],
    "SubmitAnswer": ["*bytes accepted", "*Rejection rejected", "uint64 server_time", "VerdictSignature verdict"],
    "ChallengeAnswer": ["ChallengeToken token", "uint64 expires_at", "uint64 server_time"],
    "ChallengeToken": [
        "uint32 version",
        "bytes node_id",
        "bytes task_id",
        "bytes challenge_nonce",
        "uint64 issued_at",
        "uint64 expires_at",
        "Policy policy",
        "bytes node_signature",
    ],
    "Aux": ["bytes merkle_root", "bytes proof_digest", "string context"],
    "Receipt": [
        "uint32 version",
        "bytes task_id",
        "string client_did",
        "bytes client_node_id",
        "bytes provider_id",
        "bytes content_id",
        "ProofType proof_type",
        "uint64 bytes_verified",
        "bool result_ok",
        "uint64 started_at",
        "uint64 finished_at",
        "bytes receipt_nonce",
        "bytes challenge_nonce",
        "Aux aux",
    ],
    "SignedReceipt": ["Receipt receipt", "string sig_scheme", "bytes signature"],
    "ReceiptBatch": ["uint32 version", "string client_did", "bytes batch_nonce", "*bytes receipts"],
}


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="pouw.proto", package="pouw.v1", syntax="proto3")
    enum = file.enum_type.add(name="ProofType")
    for number, name in enumerate(["HASH", "MERKLE", "SIGNATURE", "ROUTE", "SERVED"]):
        enum.value.add(name=name, number=number)
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, declaration in enumerate(fields, 1):
            kind, name = declaration.lstrip("*").split()
            field = message.field.add(name=name, number=number, label=3 if declaration.startswith("*") else 1)
            field.type = _KINDS.get(kind, 11)  # type: ignore[assignment]
            if kind not in _KINDS or kind == "ProofType":
                field.type_name = f".pouw.v1.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"pouw.v1.{name}")) for name in _MESSAGES}


MESSAGES = _build()


def to_protobuf(receipt: Receipt) -> bytes:
    """Serialise a receipt with Google's library."""
    message = MESSAGES["Receipt"]()
    for field in message.DESCRIPTOR.fields:
        if field.name != "aux":
            setattr(message, field.name, getattr(receipt, field.name))
    if receipt.aux is not None:
        message.aux.SetInParent()
        for name in ("merkle_root", "proof_digest", "context"):
            setattr(message.aux, name, getattr(receipt.aux, name))
    return bytes(message.SerializeToString(deterministic=True))


def token_to_protobuf(token: ChallengeToken) -> bytes:
    """Serialise a token without its signature."""
    message = MESSAGES["ChallengeToken"]()
    for field in message.DESCRIPTOR.fields:
        if field.name not in ("policy", "node_signature"):
            setattr(message, field.name, getattr(token, field.name))
    message.policy.SetInParent()
    message.policy.max_receipts = token.policy.max_receipts
    message.policy.max_bytes_total = token.policy.max_bytes_total
    message.policy.min_bytes_per_receipt = token.policy.min_bytes_per_receipt
    message.policy.allowed_proof_types.extend(token.policy.allowed_proof_types)
    return bytes(message.SerializeToString(deterministic=True))


def signed_to_protobuf(signed: SignedReceipt, scheme: str = "ed25519") -> bytes:
    """Serialise a signed receipt with Google's library."""
    message = MESSAGES["SignedReceipt"](sig_scheme=scheme, signature=signed.signature)
    message.receipt.ParseFromString(to_protobuf(signed.receipt))
    return bytes(message.SerializeToString(deterministic=True))


def batch_to_protobuf(did: str, batch_nonce: bytes, items: Sequence[SignedReceipt | bytes]) -> bytes:
    """Serialise a batch; items may be bytes of any kind."""
    receipts = [item if isinstance(item, bytes) else signed_to_protobuf(item) for item in items]
    message = MESSAGES["ReceiptBatch"](version=1, client_did=did, batch_nonce=batch_nonce, receipts=receipts)
    return bytes(message.SerializeToString(deterministic=True))
