"""The node's pages: what it is, for everybody; a client's own receipts; the operators' console.

They hold no secret and do nothing by themselves: whatever they show beyond this node's public facts, their scripts ask
the API for. Scripts, styles and pictures come from this node only, and none of them is inside a page.
"""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING

from flask import Blueprint, Response, render_template, request

from pouw import __version__
from pouw.errors import StoreError

if TYPE_CHECKING:
    from pouw.service.health import Health
    from pouw.service.keyring import KeyRing
    from pouw.settings import Settings

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_CHARTS = "django/static/chartkick/Chart.bundle.js"


def blueprint(health: Health, ring: KeyRing, settings: Settings) -> Blueprint:
    """Build the blueprint of the pages and of what they are made of."""
    blp = Blueprint("pages", "pouw.web", template_folder="templates")
    assets = {file.name: file.read_bytes() for file in (importlib.resources.files("pouw.web") / "assets").iterdir()}
    assets["chart.js"] = (importlib.resources.files("chartkick") / _CHARTS).read_bytes()

    @blp.get("/")
    def home() -> str:
        try:
            keys = ring.known()
        except StoreError:
            keys = []
        return render_template(
            "home.html", url=request.host_url.rstrip("/"), report=health.check(), keys=keys, settings=settings,
            version=__version__,
        )  # fmt: skip

    @blp.get("/receipts")
    def receipts() -> str:
        return render_template("receipts.html")

    @blp.get("/console")
    def console() -> str:
        return render_template("console.html", url=request.host_url.rstrip("/"))

    @blp.get("/assets/<name>")
    def asset(name: str) -> Response:
        if name not in assets:
            return Response(status=404)
        response = Response(assets[name], content_type=f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8")
        response.add_etag()
        response.headers["Cache-Control"] = "no-cache"  # asked for each time, and sent when it is another one
        response.make_conditional(request)
        return response

    @blp.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    return blp
