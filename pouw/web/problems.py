"""Problem documents (RFC 9457): the one form in which this node says no.

``type`` is stable and names the fault; ``docs/errors.md`` lists each with its cure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, g, request
from werkzeug.exceptions import HTTPException

from pouw import metrics
from pouw.errors import (
    AccessError,
    BatchConflict,
    BodyError,
    DisputeConflict,
    DisputeError,
    EpochError,
    IdentityConflict,
    InMaintenance,
    KeyMaterialError,
    NoSigningKey,
    QuotaExceeded,
    StoreError,
    StoreUnavailable,
    VerdictGone,
)
from pouw.logs import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

CONTENT_TYPE = "application/problem+json"
_RETRY_AFTER_SECS = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: a JSON pointer into the body, or a parameter's name, and what is wrong."""

    path: str
    message: str


class Problem(Exception):
    """A request's end that is not its success."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str = "",
        *,
        faults: tuple[Fault, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.faults = faults
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the document as a response."""
        document: dict[str, Any] = {
            "type": f"urn:pouw:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "instance": f"urn:pouw:request:{g.get('request_id', '')}",
        }
        if self.detail:
            document["detail"] = self.detail
        if self.faults:
            document["errors"] = [{"path": fault.path, "message": fault.message} for fault in self.faults]
        response = Response(orjson.dumps(document), self.status, content_type=CONTENT_TYPE)
        response.headers.update(self.headers)
        return response


def register(app: Flask) -> None:
    """Answer every failure of ``app`` with a problem document."""
    app.register_error_handler(Problem, Problem.response)
    app.register_error_handler(BodyError, _body_error)
    app.register_error_handler(BatchConflict, _batch_conflict)
    app.register_error_handler(IdentityConflict, _identity_conflict)
    app.register_error_handler(StoreError, _store_error)
    app.register_error_handler(VerdictGone, _verdict_gone)
    app.register_error_handler(EpochError, _epoch_error)
    app.register_error_handler(DisputeConflict, _dispute_conflict)
    app.register_error_handler(DisputeError, _dispute_error)
    app.register_error_handler(QuotaExceeded, _quota_exceeded)
    app.register_error_handler(AccessError, _access_error)
    app.register_error_handler(InMaintenance, _in_maintenance)
    app.register_error_handler(NoSigningKey, _no_signing_key)
    app.register_error_handler(KeyMaterialError, _no_signing_key)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(Exception, _bug)


_BODY_STATUS = {"too-many-receipts": 413, "too-many-values": 413}


def _body_error(error: BodyError) -> Response:
    status = _BODY_STATUS.get(error.kind, 400)
    faults = (Fault(error.path, str(error)),)
    return Problem(status, error.kind, "The body is not a batch.", str(error), faults=faults).response()


def _batch_conflict(error: BatchConflict) -> Response:
    fault = Fault("/batch_nonce", str(error))
    return Problem(409, "batch-conflict", "The batch nonce is taken.", str(error), faults=(fault,)).response()


def _identity_conflict(error: IdentityConflict) -> Response:
    return Problem(409, "identity-conflict", "The identity is taken.", str(error)).response()


def _store_error(error: StoreError) -> Response:
    if isinstance(error, StoreUnavailable):
        metrics.DB_ERRORS.labels("unavailable").inc()
        log.warning("store_unavailable", error=str(error))
        return unavailable("The node's database is out of reach. Nothing was lost; ask again.").response()
    metrics.DB_ERRORS.labels("refused").inc()
    return _bug(error)


def unavailable(detail: str) -> Problem:
    """Return the 503 for a part that is gone or busy for a moment."""
    return Problem(
        503,
        "unavailable",
        "The node cannot answer now.",
        detail,
        headers={"Retry-After": str(_RETRY_AFTER_SECS)},
    )


def _verdict_gone(error: VerdictGone) -> Response:
    return Problem(410, "verdict-gone", "The verdict is gone.", f"{error} The batch's history tells.").response()


def _dispute_conflict(error: DisputeConflict) -> Response:
    return Problem(409, "dispute-conflict", "The dispute cannot go this way.", str(error)).response()


def _dispute_error(error: DisputeError) -> Response:
    return Problem(422, "bad-member", "This cannot be put to a dispute.", str(error)).response()


def _epoch_error(error: EpochError) -> Response:
    log.warning("epoch_error", error=str(error))
    return unavailable("The node does not fit its database.").response()


def _access_error(error: AccessError) -> Response:
    return Problem(422, "bad-member", "This cannot be set.", str(error)).response()


def _in_maintenance(error: InMaintenance) -> Response:
    return Problem(
        503,
        "maintenance",
        "The node is in maintenance.",
        error.reason,
        headers={"Retry-After": str(error.retry_after)},
    ).response()


def _no_signing_key(error: NoSigningKey | KeyMaterialError) -> Response:
    log.warning("no_signing_key", error=str(error))
    return unavailable("The node has no key to sign with at the moment.").response()


def _quota_exceeded(error: QuotaExceeded) -> Response:
    metrics.RATE_LIMIT_DENIALS.labels(error.scope).inc()
    return Problem(
        429,
        "quota-exceeded",
        f"The quota per {error.scope} is spent.",
        f"The limit is {error.limit} requests a minute.",
        headers={"Retry-After": str(error.retry_after)},
    ).response()


_KINDS = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    408: "request-timeout",
    411: "length-required",
    413: "body-too-large",
    415: "unsupported-media-type",
    431: "headers-too-large",
}


def _http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400 and error.response is not None:  # noqa: PLR2004 - a redirect is no problem
        return error.get_response()  # type: ignore[return-value]  # Flask's class, made by Flask
    kind = _KINDS.get(status, f"http-{status}")
    headers = {"Allow": ", ".join(error.valid_methods)} if getattr(error, "valid_methods", None) else {}  # type: ignore[attr-defined]  # of 405 only
    return Problem(status, kind, f"{error.name}.", error.description or "", headers=headers).response()


def _bug(error: Exception) -> Response:
    log.exception("unhandled_error", error, method=request.method, rule=str(request.url_rule))
    return Problem(
        500, "internal-error", "The node failed.", "The node's log tells more under this request id."
    ).response()
