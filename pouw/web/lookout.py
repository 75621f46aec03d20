"""What operators look through: rejections and anomaly flags. A DID sees its own rejections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE

from pouw.web import dispute_schemas as schemas
from pouw.web.bodies import load_query
from pouw.web.describe import answers
from pouw.web.page_schemas import PageSchema
from pouw.web.wire import as_json

if TYPE_CHECKING:
    from pouw.service.history import History
    from pouw.web.signatures import Signatures

_PROBLEMS = (400, 401, 403, 429, 503)


def blueprint(history: History, signatures: Signatures) -> Blueprint:
    """Build the blueprint over the history."""
    blp = Blueprint("lookout", __name__, description="What was refused, and what looks odd.")
    own_schema = schemas.RejectionQuerySchema(unknown=EXCLUDE)
    all_schema = schemas.AllRejectionsQuerySchema(unknown=EXCLUDE)
    anomaly_schema = schemas.AnomalyQuerySchema(unknown=EXCLUDE)

    @blp.route("/rejections")
    class RejectionsView(MethodView):
        @blp.doc(
            parameters=[{"in": "query", "schema": schemas.AllRejectionsQuerySchema}],
            responses=answers(("200", "Rejections, the newest first.", PageSchema, False), *_PROBLEMS),
        )
        def get(self) -> Response:
            """Look through rejections by DID, reason, detail and time (operators)."""
            signatures.require_operator()
            query = load_query(all_schema, request.query_string)
            return _page(history.rejections(**query), query["limit"])

    @blp.route("/rejections/<did>")
    class OwnRejectionsView(MethodView):
        @blp.doc(
            parameters=[{"in": "query", "schema": schemas.RejectionQuerySchema}],
            responses=answers(("200", "Rejections, the newest first.", PageSchema, False), *_PROBLEMS, 404),
        )
        def get(self, did: str) -> Response:
            """Look through a DID's rejections: that DID or an operator."""
            signatures.require(did)
            query = load_query(own_schema, request.query_string)
            return _page(history.rejections(did=did, **query), query["limit"])

    @blp.route("/anomalies")
    class AnomaliesView(MethodView):
        @blp.doc(
            parameters=[{"in": "query", "schema": schemas.AnomalyQuerySchema}],
            responses=answers(("200", "Anomaly flags, the newest first.", PageSchema, False), *_PROBLEMS),
        )
        def get(self) -> Response:
            """Look through anomaly flags by DID, epoch and kind (operators)."""
            signatures.require_operator()
            query = load_query(anomaly_schema, request.query_string)
            return _page(history.anomalies(**query), query["limit"])

    return blp


def _page(rows: list[dict[str, Any]], limit: int) -> Response:
    following = str(rows[-1]["id"]) if len(rows) == limit else None
    return as_json({"items": rows, "next": following})
