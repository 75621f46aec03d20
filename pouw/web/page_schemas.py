"""Marshmallow schemas of pages: where one starts, how many rows it holds, and what comes back."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from pouw.protocol.types import MAX_INTEGER
from pouw.web.members import ReceiptPlace, WholeNumber

_LAST = MAX_INTEGER  # a cursor after every row: where the first page starts
_CURSOR = "`next` of the page before."


class _LimitSchema(Schema):
    limit = WholeNumber(
        load_default=50,
        validate=validate.Range(min=1, max=200),
        metadata={"type": "integer", "default": 50, "minimum": 1, "maximum": 200},
    )


class PageQuerySchema(_LimitSchema):
    """Where a page starts and how many rows it holds."""

    cursor = WholeNumber(load_default=_LAST, metadata={"type": "integer", "minimum": 0, "description": _CURSOR})


class ReceiptsQuerySchema(_LimitSchema):
    """Where a page of receipts starts and how many it holds."""

    cursor = ReceiptPlace(
        load_default=(_LAST, _LAST),
        metadata={"type": "string", "pattern": "^[0-9]+-[0-9]+$", "description": _CURSOR},
    )


class IdentityQuerySchema(_LimitSchema):
    """Where a page of identities starts and how many it holds."""

    cursor = fields.String(load_default="", validate=validate.Regexp(r"[^\x00]{0,700}\Z"))


class PageSchema(Schema):
    """A page of rows; ``next`` is the cursor of the next page, or null at the end."""

    items = fields.List(fields.Dict(), required=True)
    next = fields.String(allow_none=True, required=True)
    pending = fields.Dict(metadata={"description": "Of a history: what is accepted and not yet paid for."})
