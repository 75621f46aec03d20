"""The console's own part of the API: signing in and out, and what the board shows.

Everything else that the console does goes through the API that operators use with signed requests: their session stands
for the signature.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint

from pouw.service.sessions import MOST_SECS
from pouw.web import console_schemas as schemas
from pouw.web.describe import answers, problems
from pouw.web.signatures import unauthorised
from pouw.web.wire import as_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.service.sessions import Session, Sessions
    from pouw.web.signatures import Signatures

TOKEN_HEADER = "X-Pouw-Console"  # noqa: S105 - the name of a header
_COOKIE = "pouw-console"
_OURS = {None, "same-origin", "none"}


class Console:
    """The session of the present request."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def session(self) -> Session | None:
        """Return the session that the cookie belongs to; None without one, and for requests of other sites."""
        secret = request.cookies.get(cookie_name())
        if not secret or request.headers.get("Sec-Fetch-Site") not in _OURS:
            return None
        return self._sessions.find(secret)

    def operator(self) -> str | None:
        """Return who makes the request in the console: its session's token has to come in a header."""
        given = request.headers.get(TOKEN_HEADER)
        session = None if given is None else self.session()
        if session is None or given is None or not hmac.compare_digest(given.encode(), session.token.encode()):
            return None
        return session.did


def cookie_name() -> str:
    """Return the cookie's name: over TLS one that browsers take from this very host only (RFC 6265bis, 4.1.3.2)."""
    return f"__Host-{_COOKIE}" if request.is_secure else _COOKIE


def blueprint(
    console: Console, sessions: Sessions, signatures: Signatures, board: Callable[[], dict[str, Any]]
) -> Blueprint:
    """Build the blueprint over the sessions and the board."""
    blp = Blueprint("console", __name__, description="The operators' console.")

    @blp.route("/console/session")
    class SessionView(MethodView):
        @blp.doc(
            responses=answers(("200", "Who is signed in.", schemas.SessionSchema, False), 403, 429, 503)
            | {"204": {"description": "Nobody is signed in."}}
        )
        def get(self) -> Response:
            """Tell who is signed in, and the token that the console's requests need."""
            session = console.session()
            if session is None:
                return Response(status=204)
            return as_json({"did": session.did, "token": session.token, "ends_at": int(session.ends_at)})

        @blp.doc(responses={"204": {"description": "Signed in."}} | problems(401, 403, 429, 503))
        def post(self) -> Response:
            """Sign in: a request that an operator signed (operators)."""
            if "Signature-Input" not in request.headers:  # or a session would make the next one, without end
                raise unauthorised("A session is begun by a signed request: open a link that `pouw console` makes.")
            signer = signatures.require_operator()
            response = Response(status=204)
            response.set_cookie(
                cookie_name(), sessions.begin(signer.did), max_age=MOST_SECS, secure=request.is_secure, httponly=True,
                samesite="Strict",
            )  # fmt: skip
            return response

        @blp.doc(responses={"204": {"description": "Signed out."}} | problems(401, 403, 429, 503))
        def delete(self) -> Response:
            """Sign out (operators)."""
            signatures.require_operator()
            sessions.end(request.cookies.get(cookie_name(), ""))
            response = Response(status=204)
            response.delete_cookie(cookie_name(), secure=request.is_secure, httponly=True, samesite="Strict")
            return response

    @blp.route("/console/board")
    class BoardView(MethodView):
        @blp.doc(responses=answers(("200", "The board.", schemas.BoardSchema, False), 401, 403, 429, 503))
        def get(self) -> Response:
            """Show how everything is (operators): counters since the node's start, and what the worker found out."""
            signatures.require_operator()
            return as_json(board())

    return blp
