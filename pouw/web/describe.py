"""What the API description says of answers: one form of success, one form of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pouw.web import schemas
from pouw.web.examples import EXAMPLES
from pouw.web.wire import JSON, PROTOBUF

if TYPE_CHECKING:
    from marshmallow import Schema

_PROBLEMS = {
    400: "The request is not understood.",
    401: "A signed request (RFC 9421) is needed.",
    403: "The signer may not do this.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "It is taken by another content.",
    411: "There is no Content-Length.",
    413: "The body or the batch is too large.",
    415: "The content type is not taken.",
    422: "A member of the body is not as it should be.",
    429: "A quota is spent.",
    503: "The node cannot take the request now; Retry-After says when to come again.",
}


def _described(schema: type[Schema]) -> dict[str, Any]:
    return {"schema": schema, "example": EXAMPLES[schema.__name__]}


def content(schema: type[Schema], *, compact: bool) -> dict[str, Any]:
    """Return the ``content`` of a body: JSON, and protobuf where the message has a compact twin."""
    described: dict[str, Any] = {JSON: _described(schema)}
    if compact:
        described[PROTOBUF] = {"schema": {"type": "string", "format": "binary"}}
    return described


def answers(success: tuple[str, str, type[Schema], bool], *statuses: int) -> dict[str, Any]:
    """Return the ``responses`` of an operation: its success and the statuses of its problems."""
    status, text, schema, compact = success
    described: dict[str, Any] = {status: {"description": text, "content": content(schema, compact=compact)}}
    return described | problems(*statuses)


def problems(*statuses: int) -> dict[str, Any]:
    """Return the ``responses`` of an operation's problems."""
    return {
        str(status): {
            "description": _PROBLEMS[status],
            "content": {"application/problem+json": _described(schemas.ProblemSchema)},
        }
        for status in statuses
    }
