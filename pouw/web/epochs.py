"""Epochs for everybody: manifests, proofs, and how the network stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE

from pouw.protocol.types import NONCE_BYTES
from pouw.web import schemas
from pouw.web.bodies import load_query
from pouw.web.describe import answers
from pouw.web.page_schemas import PageQuerySchema, PageSchema
from pouw.web.problems import Problem
from pouw.web.wire import as_json

if TYPE_CHECKING:
    from pouw.service.closed import ClosedEpochs
    from pouw.service.stats import Stats
    from pouw.store.epochs import EpochRow

_FOR_EVER = "public, max-age=31536000, immutable"
_SHORTLY = "public, max-age=5"
_MOST_EPOCH = 2**53


def blueprint(epochs: ClosedEpochs, stats: Stats) -> Blueprint:
    """Build the blueprint; everything in it is public."""
    blp = Blueprint("epochs", __name__, description="What each epoch came to, for everybody.")
    _add_epochs(blp, epochs)
    _add_proof(blp, epochs)
    _add_stats(blp, stats)
    return blp


def _add_epochs(blp: Blueprint, epochs: ClosedEpochs) -> None:
    query_schema = PageQuerySchema(unknown=EXCLUDE)

    @blp.route("/epochs")
    class EpochsView(MethodView):
        @blp.doc(
            parameters=[{"in": "query", "schema": PageQuerySchema}],
            responses=answers(("200", "Closed epochs, the newest first.", PageSchema, False), 400, 429, 503),
        )
        def get(self) -> Response:
            """List closed epochs with their manifests."""
            query = load_query(query_schema, request.query_string)
            rows = epochs.page(query["cursor"], query["limit"])
            following = str(rows[-1].epoch) if len(rows) == query["limit"] else None
            return as_json({"items": [_shown(row) for row in rows], "next": following}, cache=_SHORTLY)

    @blp.route("/epochs/<int:number>")
    class EpochView(MethodView):
        @blp.doc(responses=answers(("200", "The epoch.", schemas.EpochSchema, False), 404, 429, 503))
        def get(self, number: int) -> Response:
            """Get a closed epoch's signed manifest, which never changes."""
            return as_json(_shown(_closed(epochs, number)), cache=_FOR_EVER)


def _add_proof(blp: Blueprint, epochs: ClosedEpochs) -> None:
    @blp.route("/epochs/<int:number>/proof/<nonce>")
    class ProofView(MethodView):
        @blp.doc(responses=answers(("200", "Proofs.", schemas.ProofSchema, False), 400, 404, 429, 503))
        def get(self, number: int, nonce: str) -> Response:
            """Prove that a receipt was counted in an epoch: a path from its leaf to the manifest's root."""
            row = _closed(epochs, number)
            proofs = epochs.prove(number, _nonce(nonce))
            if not proofs:
                raise Problem(404, "not-found", "There is no such receipt.", "This epoch counted none with this nonce.")
            manifest = json.loads(row.manifest)
            shown = [
                {"index": proof.index, "leaf_hash": proof.leaf.hex(), "path": [each.hex() for each in proof.siblings]}
                for proof in proofs
            ]
            answer = {"tree_size": manifest["receipts"], "root": manifest["receipts_root"], "proofs": shown}
            return as_json(answer, cache=_FOR_EVER)


def _add_stats(blp: Blueprint, stats: Stats) -> None:
    @blp.route("/status")
    class StatusView(MethodView):
        @blp.doc(responses=answers(("200", "The network.", schemas.StatusSchema, False), 429, 503))
        def get(self) -> Response:
            """Tell the present epoch, the rules of rewards, and what is left of the budget."""
            return as_json(stats.status(), cache=_SHORTLY)

    @blp.route("/stats")
    class StatsView(MethodView):
        @blp.doc(responses=answers(("200", "Counts.", schemas.StatsSchema, False), 429, 503))
        def get(self) -> Response:
            """Tell the counts of receipts and atoms over all closed epochs, and of the present one so far."""
            return as_json(stats.counts(), cache=_SHORTLY)


def _closed(epochs: ClosedEpochs, number: int) -> EpochRow:
    row = epochs.find(number) if number < _MOST_EPOCH else None
    if row is None:
        raise Problem(404, "not-found", "There is no such epoch.", "It is not closed yet, or never will be.")
    return row


def _nonce(text: str) -> bytes:
    try:
        nonce = bytes.fromhex(text)
    except ValueError:
        nonce = b""
    if len(nonce) not in NONCE_BYTES or nonce.hex() != text:
        raise Problem(400, "bad-parameter", "A parameter is not as it should be.", "A nonce is 32 to 64 hex digits.")
    return nonce


def _shown(row: EpochRow) -> dict[str, Any]:
    return {
        "epoch": row.epoch,
        "manifest": json.loads(row.manifest),
        "node_id": row.node_id.hex(),
        "signature": row.signature.hex(),
    }
