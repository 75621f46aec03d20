"""The protocol's messages as Google's protobuf library sees them: an encoder that shares no code with ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from pouw.protocol.types import ChallengeToken, Receipt

_KINDS = {"uint32": 13, "uint64": 4, "bytes": 12, "string": 9, "bool": 8, "ProofType": 14}
_MESSAGES = {
    "Policy": ["uint32 max_receipts", "uint64 max_bytes_total", "uint64 min_bytes_per_receipt", "*ProofType allowed"],
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


_CLASSES = _build()


def to_protobuf(receipt: Receipt) -> bytes:
    """Serialise a receipt with Google's library."""
    message = _CLASSES["Receipt"]()
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
    message = _CLASSES["ChallengeToken"]()
    for field in message.DESCRIPTOR.fields:
        if field.name not in ("policy", "node_signature"):
            setattr(message, field.name, getattr(token, field.name))
    message.policy.SetInParent()
    message.policy.max_receipts = token.policy.max_receipts
    message.policy.max_bytes_total = token.policy.max_bytes_total
    message.policy.min_bytes_per_receipt = token.policy.min_bytes_per_receipt
    message.policy.allowed.extend(token.policy.allowed_proof_types)
    return bytes(message.SerializeToString(deterministic=True))
