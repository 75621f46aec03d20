"""From a request's body to a batch: decode strictly, check the envelope, leave each receipt to itself."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from marshmallow import Schema, ValidationError

from pouw import _fastverify
from pouw.errors import BodyError
from pouw.service.submissions import Batch
from pouw.web import json_body, schemas
from pouw.web.problems import Problem
from pouw.web.wire import JSON, PROTOBUF

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.web.intake import Intake

_SMALL_BODY_BYTES = 4_096
_MOST_FAULTS = 20
_SCHEMA = schemas.BatchSchema()


def _from_json(body: bytes, max_receipts: int) -> Any:
    return json_body.load(body, max_receipts)


def _from_protobuf(body: bytes, max_receipts: int) -> Any:
    """Return the members that the JSON twin would have; the receipts stay bytes until the schema decodes them."""
    try:
        version, did, nonce, items = _fastverify.split_batch(body, max_receipts)
        value: dict[str, Any] = {"version": version, "client_did": did.decode(), "receipts": items}
    except ValueError as error:
        raise BodyError("not-protobuf", str(error)) from None
    return value | ({"batch_nonce": nonce.hex()} if nonce else {})


DECODERS: dict[str, Callable[[bytes, int], Any]] = {JSON: _from_json, PROTOBUF: _from_protobuf}


def load_batch(body: bytes, content_type: str, max_receipts: int) -> Batch:
    """Decode a body of one of the :data:`DECODERS`' content types.

    Raises :class:`BodyError` for bytes that cannot be a batch, and :class:`Problem` for a faulty envelope.
    """
    value = DECODERS[content_type](body, max_receipts)
    if type(value) is dict and type(value.get("receipts")) is list and len(value["receipts"]) > max_receipts:
        raise BodyError("too-many-receipts", f"A batch holds at most {max_receipts} receipts.", "/receipts")
    loaded = load(_SCHEMA, value, status=422, kind="bad-envelope", title="The batch's envelope is not as it should be.")
    return Batch(loaded["client_did"], loaded["batch_nonce"], hashlib.sha256(body).digest(), loaded["receipts"])


def read_small(intake: Intake, schema: Schema, most: int = _SMALL_BODY_BYTES) -> tuple[bytes, Any]:
    """Read a small JSON body that is no batch; return its bytes and what the schema makes of it."""
    with intake.body((JSON,), most) as (body, _content_type):
        value = json_body.load(body, 1)
    title = "A member of the body is not as it should be."
    return body, load(schema, value, status=422, kind="bad-member", title=title)


def load_query(schema: Schema, query: bytes) -> Any:
    """Load a request's query string; raise a :class:`Problem` that names every fault by its parameter."""
    title = "A parameter is not as it should be."
    return _named(
        lambda: schema.load(schemas.plain_query(parse_qs(query.decode(errors="replace"), keep_blank_values=True))),
        status=400,
        kind="bad-parameter",
        title=title,
    )


def load(schema: Schema, value: Any, *, status: int, kind: str, title: str) -> Any:
    """Load a value with a schema; raise a :class:`Problem` that names every fault by its path."""
    return _named(lambda: schema.load(value), status=status, kind=kind, title=title)


def _named(read: Callable[[], Any], *, status: int, kind: str, title: str) -> Any:
    try:
        return read()
    except ValidationError as error:
        faults = tuple(itertools.islice(schemas.flatten(error.messages), _MOST_FAULTS))
        raise Problem(status, kind, title, faults[0].message, faults=faults) from None
