"""What happens to every request before and after its view: its id and its headers."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from flask import g, request

from pouw import metrics, stages, tracing
from pouw.logs import Often, log, request_id

if TYPE_CHECKING:
    from flask import Flask, Response

_REFUSED = 400
_often = Often("request_refused", 10, metrics.left_out)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")


def register(app: Flask, hsts_secs: int) -> None:
    """Give each request an id, taken over from ``X-Request-Id`` where that is a plain one, and each answer headers."""

    def finish(response: Response) -> Response:
        headers = response.headers
        headers.add("X-Request-Id", g.get("request_id", ""))
        trace = tracing.current()
        if trace is not None:
            headers.add("traceparent", trace.header())
        headers.add("X-Content-Type-Options", "nosniff")
        headers.setdefault("Cache-Control", "no-store")
        if request.scheme == "https":  # over plain HTTP it would mean nothing (RFC 6797, section 7.2)
            headers["Strict-Transport-Security"] = f"max-age={hsts_secs}"
        _observe(response.status_code)
        return response

    app.before_request(_begin)
    app.after_request(finish)
    app.teardown_request(_end)


def _observe(status: int) -> None:
    method = request.method
    if method not in metrics.METHODS:
        method = "other"
    rule = request.url_rule
    route = "unknown" if rule is None else rule.rule
    seconds = time.perf_counter() - g.began
    metrics.http_duration(method, route, status).observe(seconds)
    if status >= _REFUSED and log.wants_info() and _often.due():
        log.info("request_refused", status=status, method=method, route=route, ms=round(seconds * 1000, 2))
    tracing.end({"http.request.method": method, "http.route": route, "http.response.status_code": status})


def _end(_error: BaseException | None) -> None:
    if "began" in g:
        metrics.INFLIGHT.dec()


def _begin() -> None:
    g.began = time.perf_counter()
    metrics.INFLIGHT.inc()
    stages.begin()
    environ = request.environ
    tracing.begin(environ.get("HTTP_TRACEPARENT"), request.endpoint or "unknown")
    given = environ.get("HTTP_X_REQUEST_ID", "")
    name = given if _REQUEST_ID.match(given) else os.urandom(16).hex()
    g.request_id = name
    request_id.set(name)
