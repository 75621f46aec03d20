"""Disputes over HTTP: filed and read by their DID, settled by operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE

from pouw.web import dispute_schemas as schemas
from pouw.web.bodies import load_query, read_small
from pouw.web.describe import answers, content, problems
from pouw.web.page_schemas import PageSchema
from pouw.web.problems import Problem
from pouw.web.wire import as_json

if TYPE_CHECKING:
    from pouw.service.disputes import Disputes
    from pouw.store.disputes import Dispute
    from pouw.web.intake import Intake
    from pouw.web.signatures import Signatures, Signer

_BODY_PROBLEMS = (400, 401, 403, 404, 408, 409, 411, 413, 415, 422, 429, 503)
_BODY_BYTES = 65_536
_MOST_ID = 2**63


def blueprint(disputes: Disputes, signatures: Signatures, intake: Intake) -> Blueprint:
    """Build the blueprint over the disputes."""
    blp = Blueprint("disputes", __name__, description="When a client says that the node was wrong.")
    _add_collection(blp, disputes, signatures, intake)
    _add_one(blp, disputes, signatures)
    _add_entries(blp, disputes, signatures, intake)
    _add_moves(blp, disputes, signatures, intake)
    return blp


def _add_collection(blp: Blueprint, disputes: Disputes, signatures: Signatures, intake: Intake) -> None:
    query_schema = schemas.DisputeQuerySchema(unknown=EXCLUDE)

    @blp.route("/disputes")
    class DisputesView(MethodView):
        @blp.doc(
            parameters=[{"in": "query", "schema": schemas.DisputeQuerySchema}],
            responses=answers(("200", "Disputes, the newest first.", PageSchema, False), 400, 401, 403, 429, 503),
        )
        def get(self) -> Response:
            """List disputes (operators)."""
            signatures.require_operator()
            query = load_query(query_schema, request.query_string)
            rows = disputes.page(query["state"], query["cursor"], query["limit"])
            following = str(rows[-1].id) if len(rows) == query["limit"] else None
            return as_json({"items": [_shown(row) for row in rows], "next": following})

        @blp.doc(
            requestBody={"required": True, "content": content(schemas.DisputeBodySchema, compact=False)},
            responses=answers(("201", "Filed.", schemas.DisputeSchema, False), *_BODY_PROBLEMS),
        )
        def post(self) -> Response:
            """File a dispute, as the DID that signs the request."""
            body, wish = read_small(intake, schemas.DisputeBodySchema(), _BODY_BYTES)
            signer = signatures.require_signer(body)
            dispute = disputes.file(signer.did, **wish)
            return as_json(_shown(dispute), 201)


def _add_one(blp: Blueprint, disputes: Disputes, signatures: Signatures) -> None:
    @blp.route("/disputes/<int:number>")
    class DisputeView(MethodView):
        @blp.doc(responses=answers(("200", "The dispute.", schemas.DisputeSchema, False), 401, 404, 429, 503))
        def get(self, number: int) -> Response:
            """Read a dispute with what was put to it: its claimant, or an operator, who also sees the notes."""
            signer = signatures.require_signer(b"")
            dispute = _its(disputes, number, signer)
            shown = [
                {"kind": each.kind, "author": each.author, "content": each.content, "at": int(each.at.timestamp())}
                for each in disputes.entries(dispute, for_operator=signer.operator)
            ]
            return as_json(_shown(dispute) | {"entries": shown})


def _add_entries(blp: Blueprint, disputes: Disputes, signatures: Signatures, intake: Intake) -> None:
    @blp.route("/disputes/<int:number>/evidence")
    class EvidenceView(MethodView):
        @blp.doc(
            requestBody={"required": True, "content": content(schemas.EntryBodySchema, compact=False)},
            responses={"204": {"description": "Added."}} | problems(*_BODY_PROBLEMS),
        )
        def post(self, number: int) -> Response:
            """Put evidence to a dispute: its claimant or an operator, while it waits."""
            body, wish = read_small(intake, schemas.EntryBodySchema(), _BODY_BYTES)
            signer = signatures.require_signer(body)
            _its(disputes, number, signer)
            disputes.add_evidence(number, signer.did, wish["content"])
            return Response(status=204)

    @blp.route("/disputes/<int:number>/notes")
    class NotesView(MethodView):
        @blp.doc(
            requestBody={"required": True, "content": content(schemas.EntryBodySchema, compact=False)},
            responses={"204": {"description": "Added."}} | problems(*_BODY_PROBLEMS),
        )
        def post(self, number: int) -> Response:
            """Put a note to a dispute that only operators see (operators)."""
            body, wish = read_small(intake, schemas.EntryBodySchema(), _BODY_BYTES)
            signer = signatures.require_operator(body)
            _its(disputes, number, signer)
            disputes.add_note(number, signer.did, wish["content"])
            return Response(status=204)


def _add_moves(blp: Blueprint, disputes: Disputes, signatures: Signatures, intake: Intake) -> None:
    @blp.route("/disputes/<int:number>/resolve")
    class ResolveView(MethodView):
        @blp.doc(
            requestBody={"required": True, "content": content(schemas.ResolveBodySchema, compact=False)},
            responses=answers(("200", "Moved.", schemas.DisputeSchema, False), *_BODY_PROBLEMS),
        )
        def post(self, number: int) -> Response:
            """Take a dispute up, resolve it, or close it (operators)."""
            body, wish = read_small(intake, schemas.ResolveBodySchema(), _BODY_BYTES)
            signer = signatures.require_operator(body)
            _its(disputes, number, signer)
            state, compensation = wish["state"], wish["compensation_atoms"]
            return as_json(_shown(disputes.resolve(number, state, signer.did, wish["explanation"], compensation)))

    @blp.route("/disputes/<int:number>/withdraw")
    class WithdrawView(MethodView):
        @blp.doc(
            responses=answers(("200", "Withdrawn.", schemas.DisputeSchema, False), 400, 401, 403, 404, 409, 429, 503)
        )
        def post(self, number: int) -> Response:
            """Withdraw a dispute: its claimant."""
            signer = signatures.require_signer(b"")
            dispute = _its(disputes, number, signer)
            if signer.did != dispute.client_did:
                raise Problem(403, "forbidden", "This is for its owner only.", "Only the claimant withdraws.")
            return as_json(_shown(disputes.withdraw(number, signer.did)))


def _its(disputes: Disputes, number: int, signer: Signer) -> Dispute:
    """Return a dispute that the signer may see; to anybody else it does not exist."""
    dispute = disputes.find(number) if number < _MOST_ID else None
    if dispute is None or (dispute.client_did != signer.did and not signer.operator):
        raise Problem(404, "not-found", "There is no such dispute.", "Or it is another client's.")
    return dispute


def _shown(dispute: Dispute) -> dict[str, Any]:
    return {
        "id": dispute.id,
        "client_did": dispute.client_did,
        "subject": dispute.subject,
        "subject_id": dispute.subject_id,
        "claim": dispute.claim,
        "known": dispute.known,
        "state": dispute.state.value,
        "explanation": dispute.explanation,
        "compensation_atoms": None if dispute.compensation is None else str(dispute.compensation),
        "filed_at": int(dispute.filed_at.timestamp()),
        "changed_at": int(dispute.changed_at.timestamp()),
    }
