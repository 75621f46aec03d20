"""Marshmallow schemas of the console's own messages."""

from __future__ import annotations

from marshmallow import Schema, fields


class SessionSchema(Schema):
    """Who is signed in to the console; ``token`` comes with each of its requests as ``X-Pouw-Console``."""

    did = fields.String(required=True)
    token = fields.String(required=True)
    ends_at = fields.Integer(required=True)


class BoardSchema(Schema):
    """What the console shows. Counters and buckets are sums over the node's workers since it was started."""

    at = fields.Float(required=True)
    health = fields.Dict(required=True)
    series = fields.List(fields.Dict(), required=True)
    epochs = fields.Dict(required=True)
    counts = fields.Dict(required=True)
    jobs = fields.List(fields.Dict(), required=True)
    backup_at = fields.Float(required=True, allow_none=True)
    promises = fields.Dict(required=True)
    disputes_open = fields.Integer(required=True, allow_none=True)
    keys = fields.List(fields.Dict(), required=True)
    refused = fields.List(fields.Dict(), required=True)
    over_quota = fields.List(fields.Dict(), required=True)
