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
        response.headers["X-Request-Id"] = g.get("request_id", "")
        trace = tracing.current()
        if trace is not None:
            response.headers["traceparent"] = trace.header()
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        if request.is_secure:  # over plain HTTP it would mean nothing (RFC 6797, section 7.2)
            response.headers["Strict-Transport-Security"] = f"max-age={hsts_secs}"
        _observe(response.status_code)
        return response

    app.before_request(_begin)
    app.after_request(finish)
    app.teardown_request(_end)


def _observe(status: int) -> None:
    method = request.method if request.method in metrics.METHODS else "other"
    route = "unknown" if request.url_rule is None else request.url_rule.rule
    seconds = time.perf_counter() - g.began
    metrics.HTTP_DURATION.labels(method, route, status).observe(seconds)
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
    tracing.begin(request.headers.get("traceparent"), request.endpoint or "unknown")
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.match(given) else os.urandom(16).hex()
    request_id.set(g.request_id)
