"""What a DID reads of itself: receipts, rewards, payouts, disputes, and the history that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE

from pouw.web import schemas
from pouw.web.bodies import load_query
from pouw.web.describe import answers
from pouw.web.wire import as_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.service.history import History
    from pouw.web.signatures import Signatures

_STATUSES = (400, 401, 403, 404, 429, 503)


# /disputes/{did} and /disputes/{id} are two paths: the description has to tell them apart.
_DID = {"in": "path", "name": "did", "schema": {"type": "string", "pattern": "^did:"}}


def blueprint(history: History, signatures: Signatures) -> Blueprint:
    """Build the blueprint; every path in it is for its DID and for operators."""
    blp = Blueprint("reading", __name__, description="What a DID reads of itself, with signed requests.")
    query_schema = schemas.PageQuerySchema(unknown=EXCLUDE)

    def page(path: str, key: str, read: Callable[[str, int, int], list[dict[str, Any]]], said: str) -> None:
        """Add an endpoint that pages backwards through what ``read`` returns, by the member ``key``."""

        class View(MethodView):
            @blp.doc(
                summary=said,
                parameters=[{"in": "query", "schema": schemas.PageQuerySchema}],
                responses=answers(("200", said, schemas.PageSchema, False), *_STATUSES),
            )
            def get(self, did: str) -> Response:
                signatures.require(did)
                query = load_query(query_schema, request.query_string)
                rows = read(did, query["cursor"], query["limit"])
                last = rows[-1][key] if len(rows) == query["limit"] else None
                extra = {"pending": history.pending(did)} if read == history.batches else {}
                return as_json({"items": rows, "next": None if last is None else str(last)} | extra)

        View.__name__ = f"View{path.replace('/', '_').replace('<did>', 'did')}"
        blp.route(path, endpoint=View.__name__, parameters=[_DID])(View)

    page("/receipts/<did>", "id", history.receipts, "Accepted receipts, the newest first.")
    page("/rewards/<did>", "epoch", history.rewards, "Rewards by epoch, the newest first.")
    page("/rewards/<did>/transactions", "id", history.payouts, "Payouts, the newest first.")
    page("/disputes/<did>", "id", history.disputes, "Disputes, the newest first.")
    page("/clients/<did>/history", "id", history.batches, "Batches, and why each receipt was accepted or not.")
    return blp
