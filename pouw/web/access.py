"""Quotas and blocks: where a client stands, and what operators set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from pouw.limits import WINDOW_SECS
from pouw.web import schemas
from pouw.web.bodies import read_small
from pouw.web.describe import answers, content, problems
from pouw.web.problems import Problem
from pouw.web.wire import as_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pouw.service.access import Access
    from pouw.web.intake import Intake
    from pouw.web.quotas import Quotas
    from pouw.web.signatures import Signatures

_BODY_PROBLEMS = (400, 401, 403, 408, 411, 413, 415, 422, 429, 503)


def blueprint(access: Access, quotas: Quotas, signatures: Signatures, intake: Intake) -> Blueprint:
    """Build the blueprint over quotas and access rules."""
    blp = Blueprint("access", __name__, description="Quotas, and who is kept out.")
    _add_quota(blp, quotas, signatures)
    _add_blocks(blp, access, signatures, intake)
    _add_overrides(blp, access, signatures, intake)
    _add_lift(blp, "/blocks/lift", "block", access.lift_block, signatures, intake)
    _add_lift(blp, "/quota-overrides/lift", "quota override", access.lift_quota, signatures, intake)
    return blp


def _add_quota(blp: Blueprint, quotas: Quotas, signatures: Signatures) -> None:
    @blp.route("/quota")
    class QuotaView(MethodView):
        @blp.doc(responses=answers(("200", "What is left.", schemas.QuotaSchema, False), 401, 403, 429, 503))
        def get(self) -> Response:
            """Tell what is left of the address's quota, and of the DID's where the request is signed."""
            signatures.signer()
            limits = [
                {
                    "scope": each.scope,
                    "limit": each.limit,
                    "remaining": each.remaining,
                    "reset_secs": each.reset,
                    "window_secs": WINDOW_SECS,
                }
                for each in quotas.standings()
            ]
            return as_json({"limits": limits, "local": quotas.local})


def _add_blocks(blp: Blueprint, access: Access, signatures: Signatures, intake: Intake) -> None:
    @blp.route("/blocks")
    class BlocksView(MethodView):
        @blp.doc(responses=answers(("200", "Blocks.", schemas.BlockListSchema, False), 401, 403, 429, 503))
        def get(self) -> Response:
            """List the blocks in force (operators)."""
            signatures.require_operator()
            return as_json({"items": [_block(row) for row in access.blocks()]})

        @blp.doc(
            requestBody={"required": True, "content": content(schemas.BlockBodySchema, compact=False)},
            responses={"204": {"description": "Blocked."}} | problems(*_BODY_PROBLEMS),
        )
        def post(self) -> Response:
            """Block a DID, an address or a network (operators)."""
            body, wish = read_small(intake, schemas.BlockBodySchema())
            signer = signatures.require_operator(body)
            access.block(wish["subject"], wish["reason"], signer.did, wish["expires_at"])
            return Response(status=204)


def _add_overrides(blp: Blueprint, access: Access, signatures: Signatures, intake: Intake) -> None:
    @blp.route("/quota-overrides")
    class OverridesView(MethodView):
        @blp.doc(responses=answers(("200", "Overrides.", schemas.OverrideListSchema, False), 401, 403, 429, 503))
        def get(self) -> Response:
            """List the quotas that are other than usual (operators)."""
            signatures.require_operator()
            return as_json({"items": [_block(row) | {"per_minute": row.per_minute} for row in access.quotas()]})

        @blp.doc(
            requestBody={"required": True, "content": content(schemas.OverrideBodySchema, compact=False)},
            responses={"204": {"description": "Set."}} | problems(*_BODY_PROBLEMS),
        )
        def post(self) -> Response:
            """Give a DID, an address or a network a quota of its own (operators)."""
            body, wish = read_small(intake, schemas.OverrideBodySchema())
            signer = signatures.require_operator(body)
            access.set_quota(wish["subject"], wish["per_minute"], wish["reason"], signer.did, wish["expires_at"])
            return Response(status=204)


def _add_lift(
    blp: Blueprint, path: str, what: str, lift: Callable[[str, str], bool], signatures: Signatures, intake: Intake
) -> None:
    class LiftView(MethodView):
        @blp.doc(
            summary=f"Lift a {what} (operators).",
            requestBody={"required": True, "content": content(schemas.SubjectBodySchema, compact=False)},
            responses={"204": {"description": "Lifted."}} | problems(*_BODY_PROBLEMS, 404),
        )
        def post(self) -> Response:
            body, wish = read_small(intake, schemas.SubjectBodySchema())
            signer = signatures.require_operator(body)
            if not lift(wish["subject"], signer.did):
                raise Problem(404, "not-found", f"There is no such {what}.", "It was lifted, or never set.")
            return Response(status=204)

    blp.route(path, endpoint=f"lift-{what.replace(' ', '-')}")(LiftView)


def _block(row: Any) -> dict[str, Any]:
    return {
        "subject": row.subject,
        "reason": row.reason,
        "by": row.by,
        "since": _seconds(row.since),
        "expires_at": None if row.expires_at is None else _seconds(row.expires_at),
    }


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
