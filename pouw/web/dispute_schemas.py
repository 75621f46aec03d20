"""Marshmallow schemas of disputes, and of what operators look through."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from pouw.protocol.disputes import SUBJECTS, State
from pouw.web.members import WholeNumber
from pouw.web.page_schemas import PageQuerySchema

_STATES = [state.value for state in State]


class DisputeBodySchema(Schema):
    """What a DID disputes: a receipt or challenge (its nonce in hex), a rejection (its id) or a reward (its epoch)."""

    subject = fields.String(required=True, validate=validate.OneOf(SUBJECTS))
    subject_id = fields.String(required=True)
    claim = fields.String(required=True)
    evidence = fields.String(load_default=None, allow_none=True)


class EntryBodySchema(Schema):
    """Evidence, or an operator's note: 1 to 4,096 bytes of text."""

    content = fields.String(required=True)


class ResolveBodySchema(Schema):
    """Where a dispute goes, why, and what the claimant gets for it."""

    state = fields.String(required=True, validate=validate.OneOf([state for state in _STATES if state != State.OPEN]))
    explanation = fields.String(load_default=None, allow_none=True)
    compensation_atoms = fields.String(load_default=None, allow_none=True)


class DisputeSchema(Schema):
    """A dispute. Times are unix seconds; `known` tells whether the node had what it is about."""

    id = fields.Integer(required=True)
    client_did = fields.String(required=True)
    subject = fields.String(required=True)
    subject_id = fields.String(required=True)
    claim = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(_STATES))
    explanation = fields.String(required=True, allow_none=True)
    compensation_atoms = fields.String(required=True, allow_none=True)
    filed_at = fields.Integer(required=True)
    changed_at = fields.Integer(required=True)
    known = fields.Boolean(required=True)
    entries = fields.List(fields.Dict())


class DisputeQuerySchema(PageQuerySchema):
    """Which disputes to list."""

    state = fields.String(load_default=None, validate=validate.OneOf(_STATES))


class RejectionQuerySchema(PageQuerySchema):
    """Which rejections to list. Times are unix seconds."""

    reason = fields.String(load_default=None, validate=validate.Regexp(r"[A-Z_]{1,40}\Z"))
    detail = fields.String(load_default=None, validate=validate.Regexp(r"[a-z_]{1,40}\Z"))
    since = WholeNumber(load_default=None, metadata={"type": "integer", "minimum": 0})
    until = WholeNumber(load_default=None, metadata={"type": "integer", "minimum": 0})


class AllRejectionsQuerySchema(RejectionQuerySchema):
    """Which rejections of which DID to list."""

    did = fields.String(load_default=None, validate=validate.Regexp(r"[!-~]{1,256}\Z"))


class AnomalyQuerySchema(PageQuerySchema):
    """Which anomaly flags to list."""

    did = fields.String(load_default=None, validate=validate.Regexp(r"[!-~]{1,256}\Z"))
    epoch = WholeNumber(load_default=None, metadata={"type": "integer", "minimum": 0})
    kind = fields.String(load_default=None, validate=validate.OneOf(["cap_streak", "sudden_growth", "minimum_bytes"]))
