"""What a DID reads of itself: receipts, rewards, payouts, disputes, and the history that says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE, Schema

from pouw.web.bodies import load_query
from pouw.web.describe import answers
from pouw.web.page_schemas import PageQuerySchema, PageSchema, ReceiptsQuerySchema
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

    def page(
        path: str,
        keys: tuple[str, ...],
        read: Callable[[str, Any, int], list[dict[str, Any]]],
        said: str,
        query_schema: type[Schema] = PageQuerySchema,
    ) -> None:
        """Add an endpoint that pages backwards through what ``read`` returns, by the members ``keys``."""
        asked = query_schema(unknown=EXCLUDE)

        class View(MethodView):
            @blp.doc(
                summary=said,
                parameters=[{"in": "query", "schema": query_schema}],
                responses=answers(("200", said, PageSchema, False), *_STATUSES),
            )
            def get(self, did: str) -> Response:
                signatures.require(did)
                query = load_query(asked, request.query_string)
                rows = read(did, query["cursor"], query["limit"])
                whole = len(rows) == query["limit"]
                following = "-".join(str(rows[-1][key]) for key in keys) if whole else None
                extra = {"pending": history.pending(did)} if read == history.batches else {}
                return as_json({"items": rows, "next": following} | extra)

        View.__name__ = f"View{path.replace('/', '_').replace('<did>', 'did')}"
        blp.route(path, endpoint=View.__name__, parameters=[_DID])(View)

    said = "Accepted receipts, the newest batch first."
    page("/receipts/<did>", ("batch_id", "id"), history.receipts, said, ReceiptsQuerySchema)
    page("/rewards/<did>", ("epoch",), history.rewards, "Rewards by epoch, the newest first.")
    page("/rewards/<did>/transactions", ("id",), history.payouts, "Payouts, the newest first.")
    page("/disputes/<did>", ("id",), history.disputes, "Disputes, the newest first.")
    page("/clients/<did>/history", ("id",), history.batches, "Batches, and why each receipt was accepted or not.")
    return blp
