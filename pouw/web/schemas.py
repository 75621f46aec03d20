"""Marshmallow schemas: the shape of every message on the wire, and what the API description is made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, validate

from pouw.protocol.types import DID_BYTES, KEY_BYTES, NONCE_BYTES, VERSION
from pouw.web.members import Capabilities, Hex, ReceiptList, WholeNumber
from pouw.web.problems import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc


def _check_did(value: str) -> None:
    if len(value.encode()) not in DID_BYTES:
        raise ValidationError(f"Must have {DID_BYTES.start} to {DID_BYTES.stop - 1} bytes of UTF-8.")
    if _CONTROL.search(value):
        raise ValidationError("Must not hold control characters.")


class BatchSchema(Schema):
    """A batch of signed receipts by one client."""

    version = WholeNumber(
        required=True, validate=validate.Equal(VERSION), metadata={"type": "integer", "const": VERSION}
    )
    client_did = fields.String(
        required=True, validate=_check_did, metadata={"description": "The DID whose receipts these are."}
    )
    batch_nonce = Hex(
        sizes=NONCE_BYTES,
        allow_none=True,
        load_default=None,
        metadata={"description": "Names the batch: the same batch with the same nonce gets the first answer again."},
    )
    receipts = ReceiptList(required=True, metadata={"type": "array", "description": "The signed receipts, in order."})


class ChallengeQuerySchema(Schema):
    """What a client wishes of a challenge; the node clips it to its own limits."""

    cap = Capabilities(
        load_default=(),
        metadata={
            "type": "string",
            "default": "",
            "description": "Wished proof types, separated by commas; all without it.",
        },
    )
    max_receipts = WholeNumber(
        load_default=None, validate=validate.Range(min=1), metadata={"type": "integer", "minimum": 1}
    )
    max_bytes = WholeNumber(
        load_default=None, validate=validate.Range(min=1), metadata={"type": "integer", "minimum": 1}
    )


class ChallengeSchema(Schema):
    """An issued challenge."""

    token = fields.String(metadata={"description": "Base64 of the JSON ChallengeToken."})
    expires_at = fields.Integer(metadata={"description": "Unix seconds."})
    server_time = fields.Integer(metadata={"description": "Unix seconds."})


class RejectionSchema(Schema):
    """Why one receipt of a batch was not accepted."""

    index = fields.Integer()
    receipt_nonce = fields.String(allow_none=True)
    reason = fields.String()
    detail = fields.String()


class VerdictSchema(Schema):
    """The node's signature over its decision."""

    batch_digest = fields.String(metadata={"description": "SHA-256 of the request body's bytes, in hex."})
    node_id = fields.String()
    signature = fields.String()


class SubmitAnswerSchema(Schema):
    """What became of a batch."""

    accepted = fields.List(fields.String(), metadata={"description": "Nonces, in the batch's order."})
    rejected = fields.List(fields.Nested(RejectionSchema))
    server_time = fields.Integer(metadata={"description": "Unix seconds."})
    verdict = fields.Nested(VerdictSchema)


class IdentityBodySchema(Schema):
    """A DID and the key that is to speak for it."""

    did = fields.String(required=True, validate=_check_did)
    public_key = Hex(sizes=range(KEY_BYTES, KEY_BYTES + 1), required=True)


class KeyBodySchema(Schema):
    """The key that is to speak for a DID from now on."""

    public_key = Hex(sizes=range(KEY_BYTES, KEY_BYTES + 1), required=True)


class IdentitySchema(Schema):
    """One key of a DID. Times are unix seconds."""

    did = fields.String(required=True)
    public_key = fields.String(required=True)
    created_at = fields.Integer(required=True)
    retired_at = fields.Integer(allow_none=True, required=True)


class IdentityPageSchema(Schema):
    """A page of identities."""

    items = fields.List(fields.Nested(IdentitySchema), required=True)
    next = fields.String(allow_none=True, required=True)


class NodeKeySchema(Schema):
    """A key of the network's nodes and when its signatures count. Times are unix seconds."""

    public_key = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(["staged", "active", "retired"]))
    valid_from = fields.Integer(required=True)
    valid_until = fields.Integer(allow_none=True, required=True)


class NodeSchema(Schema):
    """Who this node is and what it takes."""

    node_id = fields.String(required=True)
    version = fields.String(required=True)
    protocol = fields.Integer(required=True)
    verify_engine = fields.String(required=True)
    keys = fields.List(fields.Nested(NodeKeySchema), required=True)
    limits = fields.Dict(required=True)


class EpochSchema(Schema):
    """A closed epoch: the signature is over its context label and the manifest's canonical JSON (RFC 8785)."""

    epoch = fields.Integer(required=True)
    manifest = fields.Dict(required=True)
    node_id = fields.String(required=True)
    signature = fields.String(required=True)


class ProofSchema(Schema):
    """Inclusion proofs as in RFC 9162, section 2.1.3; one for each receipt whose nonce begins so."""

    tree_size = fields.Integer(required=True)
    root = fields.String(required=True)
    proofs = fields.List(fields.Dict(), required=True)


class StatusSchema(Schema):
    """The present epoch and the money. Amounts are strings of atoms, times unix seconds."""

    epoch = fields.Integer(required=True)
    epoch_starts_at = fields.Integer(required=True)
    epoch_ends_at = fields.Integer(required=True)
    last_closed_epoch = fields.Integer(required=True, allow_none=True)
    rules = fields.Dict(required=True)
    budget_left_atoms = fields.String(required=True)


class StatsSchema(Schema):
    """Counts: `closed` over closed epochs, `atoms` by what became of them, `present` for the epoch that runs."""

    closed = fields.Dict(required=True)
    atoms = fields.Dict(required=True)
    present = fields.Dict(required=True)


class LimitSchema(Schema):
    """Where a client stands with one limit: requests, and seconds until more than `remaining` is there."""

    scope = fields.String(required=True, validate=validate.OneOf(["IP", "DID"]))
    limit = fields.Integer(required=True)
    remaining = fields.Integer(required=True)
    reset_secs = fields.Integer(required=True)
    window_secs = fields.Integer(required=True)


class QuotaSchema(Schema):
    """What is left of each quota; `local` where Redis is away and each worker counts for itself."""

    limits = fields.List(fields.Nested(LimitSchema), required=True)
    local = fields.Boolean(required=True)


class SubjectBodySchema(Schema):
    """A DID, an IP address, or a network such as 203.0.113.0/24."""

    subject = fields.String(required=True, validate=_check_did)


class BlockBodySchema(SubjectBodySchema):
    """Whom to keep out, why, and until when (unix seconds; null for ever)."""

    reason = fields.String(required=True)
    expires_at = WholeNumber(load_default=None, allow_none=True, metadata={"type": "integer"})


class OverrideBodySchema(SubjectBodySchema):
    """Whose quota, how many requests a minute, why, and until when (unix seconds)."""

    per_minute = WholeNumber(required=True, metadata={"type": "integer"})
    reason = fields.String(required=True)
    expires_at = WholeNumber(required=True, metadata={"type": "integer"})


class BlockSchema(Schema):
    """A block in force. Times are unix seconds."""

    subject = fields.String(required=True)
    reason = fields.String(required=True)
    by = fields.String(required=True)
    since = fields.Integer(required=True)
    expires_at = fields.Integer(allow_none=True, required=True)


class BlockListSchema(Schema):
    """All blocks in force, the newest first."""

    items = fields.List(fields.Nested(BlockSchema), required=True)


class OverrideSchema(BlockSchema):
    """A quota that is other than usual."""

    per_minute = fields.Integer(required=True)


class OverrideListSchema(Schema):
    """All overrides in force, the newest first."""

    items = fields.List(fields.Nested(OverrideSchema), required=True)


class MaintenanceSchema(Schema):
    """A maintenance that is in force; ``until`` where its end is known."""

    reason = fields.String(required=True)
    since = fields.Integer(required=True)
    until = fields.Integer(required=True, allow_none=True)


class HealthSchema(Schema):
    """The state of the node; ``components`` only where every part was asked for."""

    status = fields.String(required=True, validate=validate.OneOf(["ok", "degraded", "down"]))
    ready = fields.Boolean(required=True)
    version = fields.String()
    maintenance = fields.Nested(MaintenanceSchema, allow_none=True)
    components = fields.Dict()


class LiveSchema(Schema):
    """The process answers."""

    status = fields.String(required=True)


class FaultSchema(Schema):
    """One thing wrong with a request."""

    path = fields.String()
    message = fields.String()


class ProblemSchema(Schema):
    """A problem document (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    instance = fields.String(required=True)
    detail = fields.String()
    errors = fields.List(fields.Nested(FaultSchema))


def flatten(messages: Any, path: str = "") -> Iterator[Fault]:
    """Turn Marshmallow's nested messages into faults with JSON pointers."""
    if isinstance(messages, dict):
        for key, value in messages.items():
            # RFC 6901, section 3: ~ and / inside a name are escaped.
            name = str(key).replace("~", "~0").replace("/", "~1")
            yield from flatten(value, path if key == "_schema" else f"{path}/{name}")
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield Fault(path, str(message))


def plain_query(args: Mapping[str, list[str]]) -> dict[str, str]:
    """Return query arguments that stand once each; raise ValidationError for one that is repeated."""
    repeated = {name: ["Must stand only once."] for name, values in args.items() if len(values) > 1}
    if repeated:
        raise ValidationError(repeated)
    return {name: values[0] for name, values in args.items()}
