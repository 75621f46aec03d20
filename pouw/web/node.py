"""Who this node is: its keys, its limits, and the messages it speaks."""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING

import orjson
from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from pouw import __version__
from pouw.protocol.types import VERSION
from pouw.web import schemas
from pouw.web.describe import answers, problems
from pouw.web.wire import JSON

if TYPE_CHECKING:
    from pouw.service.keyring import KeyRing
    from pouw.settings import Settings


def blueprint(ring: KeyRing, settings: Settings) -> Blueprint:
    """Build the blueprint over the key ring."""
    blp = Blueprint("node", __name__, description="Who this node is.")
    proto = importlib.resources.files("pouw.protocol").joinpath("pouw.proto").read_bytes()
    limits = {
        "batch_size_max": settings.batch_size_max,
        "body_max_bytes": settings.body_max_bytes,
        "challenge_ttl_secs": settings.challenge_ttl_secs,
        "challenge_max_receipts": settings.challenge_max_receipts,
        "challenge_max_bytes": settings.challenge_max_bytes,
        "min_bytes_per_receipt": settings.min_bytes_per_receipt,
        "rate_limit_ip_per_minute": settings.rate_limit_ip,
        "rate_limit_did_per_minute": settings.rate_limit_did,
        "clock_skew_secs": settings.clock_skew_secs,
    }

    @blp.route("/node")
    class NodeView(MethodView):
        @blp.doc(responses=answers(("200", "The node.", schemas.NodeSchema, False), 429, 503))
        def get(self) -> Response:
            """Tell the node's keys with their validity, and its limits."""
            node = {
                "node_id": ring.current().public_key.hex(),
                "version": __version__,
                "protocol": VERSION,
                "verify_engine": settings.verify_engine,
                "keys": [
                    {
                        "public_key": key.public_key.hex(),
                        "state": key.state,
                        "valid_from": int(key.valid_from.timestamp()),
                        "valid_until": None if key.valid_until is None else int(key.valid_until.timestamp()),
                    }
                    for key in ring.known()
                ],
                "limits": limits,
            }
            return Response(orjson.dumps(node), content_type=JSON)

    @blp.route("/pouw.proto")
    class ProtoView(MethodView):
        @blp.doc(responses={"200": {"description": "The messages.", "content": {"text/plain": {}}}} | problems(429))
        def get(self) -> Response:
            """Get the protobuf messages."""
            return Response(proto, content_type="text/plain; charset=utf-8")

    return blp
