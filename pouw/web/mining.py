"""The two endpoints that clients live on: ``/challenge`` and ``/submit``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE

from pouw.stages import Stage
from pouw.web import schemas
from pouw.web.bodies import DECODERS, load_batch, load_query
from pouw.web.describe import answers, content
from pouw.web.wire import CHALLENGE_ENCODERS, VERDICT_ENCODERS, best_encoding

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.service.challenges import Challenges
    from pouw.service.maintenance import Maintenance
    from pouw.service.submissions import Submissions
    from pouw.settings import Settings
    from pouw.web.intake import Intake
    from pouw.web.signatures import Signatures


def blueprint(
    challenges: Challenges,
    submissions: Submissions,
    maintenance: Maintenance,
    signatures: Signatures,
    intake: Intake,
    settings: Settings,
    *,
    clock: Callable[[], float],
) -> Blueprint:
    """Build the blueprint over the two services, which rest during a maintenance."""
    blp = Blueprint("mining", __name__, description="Challenges out, receipts in.")
    query_schema = schemas.ChallengeQuerySchema(unknown=EXCLUDE)

    @functools.lru_cache(maxsize=256)  # the same few queries, with every request
    def wished(query: bytes) -> Any:
        return load_query(query_schema, query)

    @blp.route("/challenge")
    class ChallengeView(MethodView):
        @blp.doc(
            parameters=[{"in": "query", "schema": schemas.ChallengeQuerySchema}],
            responses=answers(("200", "The challenge.", schemas.ChallengeSchema, True), 400, 401, 429, 503),
        )
        def get(self) -> Response:
            """Ask for a challenge; a signed request (RFC 9421) gets one that is bound to its DID."""
            wish = wished(request.query_string)
            signer = signatures.signer()
            bound_did = None if signer is None else signer.did
            maintenance.admit()
            token = challenges.issue(wish["cap"], wish["max_receipts"], wish["max_bytes"], bound_did)
            content_type = best_encoding(request.headers.get("Accept"))
            body = CHALLENGE_ENCODERS[content_type](token, int(clock()))
            return Response(body, content_type=content_type, headers={"Vary": "Accept"})

    @blp.route("/submit")
    class SubmitView(MethodView):
        @blp.doc(
            requestBody={"required": True, "content": content(schemas.BatchSchema, compact=True)},
            responses=answers(
                ("200", "The verdict.", schemas.SubmitAnswerSchema, True),
                400,
                408,
                409,
                411,
                413,
                415,
                422,
                429,
                503,
            ),
        )
        def post(self) -> Response:
            """Submit a batch of signed receipts."""
            with intake.body(tuple(DECODERS), settings.body_max_bytes) as (body, content_type), intake.slot():
                # Not before the body was read: a client that is hung up on while it sends may not see the answer.
                maintenance.admit()
                with Stage("decode"):
                    batch = load_batch(body, content_type, settings.batch_size_max)
                answer = submissions.submit(batch, VERDICT_ENCODERS[content_type])
            response = Response(answer.body, content_type=content_type)
            if answer.replayed:
                response.headers["Idempotent-Replayed"] = "true"
            return response

    return blp
