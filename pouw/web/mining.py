"""The two endpoints that clients live on: ``/challenge`` and ``/submit``."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE, ValidationError

from pouw import metrics
from pouw.protocol.tokens import encode_wire
from pouw.service.submissions import Batch
from pouw.web import json_body, schemas
from pouw.web.hooks import read_body
from pouw.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.protocol.verdicts import Verdict
    from pouw.service.challenges import Challenges
    from pouw.service.submissions import Submissions
    from pouw.settings import Settings

JSON = "application/json"

_PROBLEM = {"content": {"application/problem+json": {"schema": schemas.ProblemSchema}}}


def _problems(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {status: {"description": text, **_PROBLEM} for status, text in pairs}


def blueprint(
    challenges: Challenges, submissions: Submissions, settings: Settings, clock: Callable[[], float]
) -> Blueprint:
    """Build the blueprint over the two services."""
    blp = Blueprint("mining", __name__, description="Challenges out, receipts in.")
    query_schema = schemas.ChallengeQuerySchema(unknown=EXCLUDE)
    batch_schema = schemas.BatchSchema()
    timeout = settings.request_timeout_secs

    @blp.route("/challenge")
    class ChallengeView(MethodView):
        @blp.doc(
            parameters=[{"in": "query", "schema": schemas.ChallengeQuerySchema}],
            responses={
                "200": {
                    "description": "The challenge.",
                    "content": {JSON: {"schema": schemas.ChallengeSchema}},
                },
                **_problems(
                    ("400", "A parameter is not as it should be."),
                    ("429", "The quota per IP is spent."),
                    ("503", "The database is out of reach."),
                ),
            },
        )
        def get(self) -> Response:
            """Ask for a challenge."""
            try:
                wish = query_schema.load(schemas.plain_query(request.args.to_dict(flat=False)))
                proof_types = schemas.parse_capabilities(wish["cap"])
            except ValidationError as error:
                faults = tuple(schemas.flatten(error.messages))
                raise Problem(
                    400,
                    "bad-parameter",
                    "A parameter is not as it should be.",
                    faults[0].message,
                    faults=faults,
                ) from None
            token = challenges.issue(proof_types, wish["max_receipts"], wish["max_bytes"])
            return _json({"token": encode_wire(token), "expires_at": token.expires_at, "server_time": int(clock())})

    @blp.route("/submit")
    class SubmitView(MethodView):
        @blp.doc(
            requestBody={"required": True, "content": {JSON: {"schema": schemas.BatchSchema}}},
            responses={
                "200": {
                    "description": "The verdict.",
                    "content": {JSON: {"schema": schemas.SubmitAnswerSchema}},
                },
                **_problems(
                    ("400", "The body is not strict JSON."),
                    ("408", "The body came too slowly."),
                    ("409", "The batch nonce was used for another content."),
                    ("411", "There is no Content-Length."),
                    ("413", "The body or the batch is too large."),
                    ("415", "The content type is not taken."),
                    ("422", "The batch's envelope is not as it should be."),
                    ("429", "A quota is spent."),
                    ("503", "The database is out of reach."),
                ),
            },
        )
        def post(self) -> Response:
            """Submit a batch of signed receipts."""
            body = read_body((JSON,), settings.body_max_bytes, timeout)
            with metrics.stage("decode"):
                batch = _load_batch(body, batch_schema, settings.batch_size_max)
            answer = submissions.submit(batch, render_json)
            response = Response(answer.body, content_type=JSON)
            if answer.replayed:
                response.headers["Idempotent-Replayed"] = "true"
            return response

    return blp


def _load_batch(body: bytes, schema: schemas.BatchSchema, max_receipts: int) -> Batch:
    value = json_body.load(body, max_receipts)
    if type(value) is dict and type(value.get("receipts")) is list and len(value["receipts"]) > max_receipts:
        raise Problem(
            413,
            "too-many-receipts",
            "The batch is too large.",
            f"A batch holds at most {max_receipts} receipts.",
        )
    try:
        loaded = schema.load(value)
    except ValidationError as error:
        faults = tuple(schemas.flatten(error.messages))
        raise Problem(
            422,
            "bad-envelope",
            "The batch's envelope is not as it should be.",
            faults[0].message,
            faults=faults,
        ) from None
    return Batch(loaded["client_did"], loaded["batch_nonce"], hashlib.sha256(body).digest(), loaded["receipts"])


def render_json(verdict: Verdict, signature: bytes) -> bytes:
    """Return a verdict as the JSON answer to a batch."""
    return orjson.dumps(
        {
            "accepted": [nonce.hex() for nonce in verdict.accepted],
            "rejected": [
                {
                    "index": rejection.index,
                    "receipt_nonce": None if rejection.receipt_nonce is None else rejection.receipt_nonce.hex(),
                    "reason": rejection.detail.reason.value,
                    "detail": rejection.detail.value,
                }
                for rejection in verdict.rejected
            ],
            "server_time": verdict.server_time,
            "verdict": {
                "batch_digest": verdict.batch_digest.hex(),
                "node_id": verdict.node_id.hex(),
                "signature": signature.hex(),
            },
        }
    )


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), content_type=JSON)
