"""Health: is the process alive, may it get traffic, and how is each part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from pouw import __version__
from pouw.errors import StoreError
from pouw.web import schemas
from pouw.web.describe import answers, content

if TYPE_CHECKING:
    from pouw.service.health import Health, Report
    from pouw.service.maintenance import Maintenance


def blueprint(health: Health, maintenance: Maintenance) -> Blueprint:
    """Build the blueprint over the health service. A maintenance is shown, and changes nothing: reads go on."""
    blp = Blueprint("health", __name__, description="Health of the node and of each part.")

    @blp.route("/health")
    class HealthView(MethodView):
        @blp.doc(responses=_RESPONSES)
        def get(self) -> Response:
            """Tell the health of every part."""
            return _respond(health.check(), version=__version__, maintenance=_announced(maintenance))

    @blp.route("/health/ready")
    class ReadyView(MethodView):
        @blp.doc(responses=_RESPONSES)
        def get(self) -> Response:
            """Tell whether this node may get traffic."""
            return _respond(health.check())

    @blp.route("/health/live")
    class LiveView(MethodView):
        @blp.doc(responses=answers(("200", "The process answers.", schemas.LiveSchema, False)))
        def get(self) -> Response:
            """Tell that the process answers."""
            return Response(orjson.dumps({"status": "ok"}), content_type="application/json")

    return blp


_RESPONSES = {
    "200": {
        "description": "The node takes requests; `degraded` where a part it can do without is gone.",
        "content": content(schemas.HealthSchema, compact=False),
    },
    "503": {
        "description": "The node cannot do its work.",
        "content": content(schemas.HealthSchema, compact=False),
    },
}


def _announced(maintenance: Maintenance) -> dict[str, Any] | None:
    try:
        found = maintenance.current()
    except StoreError:  # which its part says
        return None
    if found is None:
        return None
    until = None if found.ends_at is None else int(found.ends_at.timestamp())
    return {"reason": found.reason, "since": int(found.since.timestamp()), "until": until}


def _respond(report: Report, **more: Any) -> Response:
    body: dict[str, Any] = {"status": report.status, "ready": report.ready}
    if more:
        body |= more | {"components": {part.name: part.as_dict() for part in report.parts}}
    headers = {} if report.ready else {"Retry-After": "2"}
    return Response(orjson.dumps(body), 200 if report.ready else 503, headers=headers, content_type="application/json")
