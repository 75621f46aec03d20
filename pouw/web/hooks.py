"""What happens to every request before and after its view: its id, its body, its headers."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import gevent
from flask import g, request

from pouw.logs import request_id
from pouw.web.problems import Problem

if TYPE_CHECKING:
    from flask import Flask, Response

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")


def register(app: Flask) -> None:
    """Give each request an id, taken over from ``X-Request-Id`` where that is a plain one."""
    app.before_request(_name_request)
    app.after_request(_finish)


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
    request_id.set(g.request_id)


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def read_body(content_types: tuple[str, ...], max_bytes: int, timeout: float) -> tuple[bytes, str]:
    """Read the request's body within ``timeout`` seconds; return it and its content type.

    Raises :class:`Problem`: 411 without a Content-Length, 413 over ``max_bytes``, 415 for another content
    type, 408 where it comes too slowly, 400 where it ends too early.
    """
    length = request.content_length
    if length is None or "Transfer-Encoding" in request.headers:
        raise Problem(411, "length-required", "Send a Content-Length.", "A chunked body is not taken.")
    if length > max_bytes:
        _give_up_on_body()
        detail = f"It has {length} bytes; at most {max_bytes} are taken."
        raise Problem(413, "body-too-large", "The body is too large.", detail)
    if request.mimetype not in content_types:
        raise Problem(
            415,
            "unsupported-media-type",
            "The content type is not taken.",
            f"Send {' or '.join(content_types)}.",
        )
    try:
        with gevent.Timeout(timeout):
            body: bytes = request.environ["wsgi.input"].read(length)
    except gevent.Timeout:
        _give_up_on_body()
        detail = f"All of it has to arrive within {timeout:g} seconds."
        raise Problem(408, "request-timeout", "The body came too slowly.", detail) from None
    if len(body) != length:
        raise Problem(400, "body-cut", "The body ended early.", f"{len(body)} of {length} bytes arrived.")
    return body, request.mimetype


def _give_up_on_body() -> None:
    """Let Gunicorn close the connection after the answer, instead of reading what is left of the body."""
    body = request.environ["wsgi.input"]
    if hasattr(body, "failed"):
        body.failed = True
