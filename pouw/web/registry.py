"""Identities: listed, added, rotated and retired by operators; registered by holders where the operator opened that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE

from pouw.errors import DidError
from pouw.service.identities import cursor_of
from pouw.web import schemas
from pouw.web.bodies import load_query, read_small
from pouw.web.describe import answers, content, problems
from pouw.web.page_schemas import IdentityQuerySchema
from pouw.web.problems import Fault, Problem
from pouw.web.wire import as_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.service.identities import Identities
    from pouw.settings import Settings
    from pouw.store.identities import IdentityRow
    from pouw.web.intake import Intake
    from pouw.web.signatures import Signatures

T = TypeVar("T")

_BODY_PROBLEMS = (400, 401, 403, 408, 411, 413, 415, 422, 429, 503)


def blueprint(identities: Identities, signatures: Signatures, intake: Intake, settings: Settings) -> Blueprint:
    """Build the blueprint over the identities."""
    blp = Blueprint("registry", __name__, description="Which key speaks for a DID.")
    query_schema = IdentityQuerySchema(unknown=EXCLUDE)

    @blp.route("/identities")
    class IdentitiesView(MethodView):
        @blp.doc(
            parameters=[{"in": "query", "schema": IdentityQuerySchema}],
            responses=answers(
                ("200", "Identities by DID.", schemas.IdentityPageSchema, False), 400, 401, 403, 429, 503
            ),
        )
        def get(self) -> Response:
            """List identities, retired keys included (operators)."""
            signatures.require_operator()
            query = load_query(query_schema, request.query_string)
            rows = identities.page(query["cursor"], query["limit"])
            following = cursor_of(rows[-1]) if len(rows) == query["limit"] else None
            return as_json({"items": [_shown(row) for row in rows], "next": following})

        @blp.doc(
            requestBody={"required": True, "content": content(schemas.IdentityBodySchema, compact=False)},
            responses=answers(("201", "Registered.", schemas.IdentitySchema, False), *_BODY_PROBLEMS, 409),
        )
        def post(self) -> Response:
            """Register a DID: an operator, or its holder with a request signed by the very key it registers."""
            body, wish = read_small(intake, schemas.IdentityBodySchema())
            did, key = wish["did"], wish["public_key"]
            signer = (
                signatures.require_registrant(body, did, key)
                if settings.registration == "open"
                else signatures.require_operator(body)
            )
            return as_json(_shown(_checked(lambda: identities.add(did, key, signer.did))), 201)

    @blp.route("/identities/<did>/rotate")
    class RotateView(MethodView):
        @blp.doc(
            requestBody={"required": True, "content": content(schemas.KeyBodySchema, compact=False)},
            responses=answers(("200", "Rotated.", schemas.IdentitySchema, False), *_BODY_PROBLEMS, 404, 409),
        )
        def post(self, did: str) -> Response:
            """Give a DID a new key and retire the old one (operators)."""
            body, wish = read_small(intake, schemas.KeyBodySchema())
            signer = signatures.require_operator(body)
            row = _checked(lambda: identities.rotate(did, wish["public_key"], signer.did))
            if row is None:
                raise _not_found(did)
            return as_json(_shown(row))

    @blp.route("/identities/<did>/retire")
    class RetireView(MethodView):
        @blp.doc(responses={"204": {"description": "Retired."}} | problems(400, 401, 403, 404, 422, 429, 503))
        def post(self, did: str) -> Response:
            """Take a DID's live key away (operators)."""
            signer = signatures.require_operator()
            if not _checked(lambda: identities.retire(did, signer.did)):
                raise _not_found(did)
            return Response(status=204)

    return blp


def _checked(action: Callable[[], T]) -> T:
    try:
        return action()
    except DidError as error:
        fault = Fault("/did" if "DID" in str(error) else "/public_key", str(error))
        raise Problem(422, "bad-member", "This DID or key cannot be used.", str(error), faults=(fault,)) from None


def _not_found(did: str) -> Problem:
    return Problem(404, "not-found", "There is no such identity.", f"{did} has no live key here.")


def _shown(row: IdentityRow) -> dict[str, Any]:
    return {
        "did": row.did,
        "public_key": row.public_key.hex(),
        "created_at": int(row.created_at.timestamp()),
        "retired_at": None if row.retired_at is None else int(row.retired_at.timestamp()),
    }
