"""Gunicorn's parts as this node has them: a gevent worker that refuses in problem documents, and its log."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import time
import uuid
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from pouw.balance import Board, Server, Share
from pouw.heads import Request
from pouw.stopping import STOPPING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pouw.answers import Answer

_BAD_REQUEST = (400, "bad-request", "Bad Request")
_SERVER_ERROR = (500, "internal-error", "Internal Server Error")

# The first that fits counts: an invalid response header is also an invalid header, and the application's fault.
_ANSWERS: tuple[tuple[type[Exception], tuple[int, str, str]], ...] = (
    (errors.InvalidResponseHeader, _SERVER_ERROR),
    (errors.InvalidResponseHeaderName, _SERVER_ERROR),
    (errors.ConfigurationProblem, _SERVER_ERROR),
    (errors.LimitRequestLine, (414, "uri-too-long", "URI Too Long")),
    (errors.LimitRequestHeaders, (431, "headers-too-large", "Request Header Fields Too Large")),
    (errors.UnsupportedTransferCoding, (501, "transfer-coding-not-supported", "Not Implemented")),
    (errors.ExpectationFailed, (417, "expectation-failed", "Expectation Failed")),
    (errors.ForbiddenProxyRequest, (403, "forbidden", "Forbidden")),
    (ssl.SSLError, (403, "forbidden", "Forbidden")),
    (errors.ParseException, _BAD_REQUEST),
)


class Log(Logger):  # type: ignore[misc]  # Gunicorn has no types
    """Sends Gunicorn's lines the way of all others, from the first one on."""

    def setup(self, cfg: Any) -> None:
        """Set up as Gunicorn does, without a handler of its own."""
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True


_READ_BYTES = 262_144
"""Bodies are read in pieces of this size; Gunicorn's own 8 KiB make a batch of 100 receipts eight reads."""

_LINGER_SECS = 0.5
"""How long a connection waits for a request once the worker stops: one may be under way on it, even on a new one."""


BOARD = Board()
"""Made when Gunicorn's master reads its configuration, so that every worker inherits it."""


class _WorkerStops(BaseException):
    """Ends the wait for a next request."""


class Worker(GeventWorker):  # type: ignore[misc]  # Gunicorn has no types
    """Lets the application answer requests, and refuses those that are not HTTP, or have too much of it."""

    alive: bool  # Gunicorn's

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: dict[Any, float] = {}  # greenlets, and since when
        self._left_at = 0.0
        self._share = Share(BOARD, self.age)
        self._told = False

    def init_process(self) -> None:
        """Serve until told to stop, with requests whose heads are read once."""
        RequestParser.mesg_class = Request  # where Gunicorn's parser looks for the class of what it makes
        super().init_process()

    def server_class(
        self, listener: Any, *, application: Any, spawn: Any, log: Any, handler_class: Any, environ: Any, **tls: Any
    ) -> Server:
        """Return the server that Gunicorn is to start: it takes a fair share of the connections.

        The other arguments are for servers that parse requests themselves.
        """
        del application, log, handler_class, environ
        return Server(self._share, listener, handle=partial(self.handle, listener), spawn=spawn, **tls)

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Wait for a request, but neither for ever nor while the worker stops; Gunicorn goes on without one."""
        greenlet = gevent.getcurrent()
        self._waiting[greenlet] = time.monotonic()
        try:
            with gevent.Timeout(self.cfg.keepalive, False):  # type: ignore[arg-type]  # gevent's way to be silent
                yield
        except _WorkerStops:
            pass
        finally:
            del self._waiting[greenlet]

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Leave; where the whole node stops only after a while, in which it says that it is not ready.

        A second signal changes nothing: a service manager may send one to every process beside the master's.
        """
        if self._told:
            return
        self._told = True
        gevent.spawn_later(STOPPING.drain_secs if STOPPING.begun() else 0, self._leave, sig, frame)

    def _leave(self, sig: int, frame: Any) -> None:
        """Take no new connections, finish what is in flight, and close connections without a request."""
        super().handle_exit(sig, frame)
        self._share.leave()
        self._left_at = time.monotonic()
        gevent.spawn(self._end_waiting)

    def _end_waiting(self) -> None:
        while True:
            long_ago = time.monotonic() - _LINGER_SECS
            for greenlet, since in self._waiting.items():
                if max(since, self._left_at) <= long_ago:
                    gevent.get_hub().loop.run_callback(self._stop_waiting, greenlet)
            gevent.sleep(_LINGER_SECS / 5)

    def _stop_waiting(self, greenlet: Any) -> None:
        if greenlet in self._waiting:  # else its request came meanwhile
            greenlet.throw(_WorkerStops)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Shake hands within the time that headers have, and then serve the connection."""
        if isinstance(client, ssl.SSLSocket):
            try:
                with gevent.Timeout(self.cfg.keepalive):
                    client.do_handshake()
            except (gevent.Timeout, OSError) as error:  # an SSLError is an OSError
                self.log.debug("The handshake failed: %s", type(error).__name__)
                client.close()
                return
        super().handle(listener, client, addr)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Let the application answer a request; raise StopIteration where it was the connection's last."""
        self.cfg.pre_request(self, req)
        if STOPPING.begun():
            req.force_close()  # a client of a node that stops is to go elsewhere with its next request
        req.unreader.mxchunk = _READ_BYTES
        req.body.close_connection = req.force_close  # the application, which is given the body only, may end it all
        req.body.buffered = req.unreader.buf.tell()  # bytes that came with the head
        answer, environ = req.begin(sock, addr, listener_name)
        self._count()
        if not self.alive or not self.cfg.keepalive:
            answer.force_close()
        try:
            self._answer(answer, environ)
            gevent.sleep(0)  # other connections have their turn: a busy one never yields by itself
        except gevent.GreenletExit:
            raise StopIteration from None  # the worker's time to stop is over
        except BaseException as error:
            if not answer.begun or (isinstance(error, OSError) and not isinstance(error, ssl.SSLError)):
                raise
            # Too late for another answer: the client would take it for part of this one, or for its next request's.
            fields = {"status": answer.status_code, "peer": addr[0] if addr else ""}
            self.log.exception("request_failed", extra={"fields": fields})
            raise StopIteration from None
        if answer.should_close():
            raise StopIteration

    def _count(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("worker_leaves", extra={"fields": {"requests": self.nr}})
            self.alive = False
            self._share.leave()

    def _answer(self, answer: Answer, environ: dict[str, Any]) -> None:
        began = dt.datetime.now(dt.UTC)
        try:
            pieces = self.wsgi(environ, answer.start_response)
            try:
                for piece in pieces:
                    answer.write(piece)
                answer.close()
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        finally:
            if answer.begun:
                self.log.access(answer, answer.req, environ, dt.datetime.now(dt.UTC) - began)
            self.cfg.post_request(self, answer.req, environ, answer)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:  # noqa: ARG002 - its signature
        """Answer and log a request that could not be handled; the connection is closed after it."""
        status, kind, title = next((answer for error, answer in _ANSWERS if isinstance(exc, error)), _SERVER_ERROR)
        request_id = uuid.uuid4().hex
        fields = {"fields": {"request_id": request_id, "status": status, "peer": addr[0] if addr else ""}}
        if status == _SERVER_ERROR[0]:
            self.log.error("request_failed", exc_info=exc, extra=fields)
        else:
            fields["fields"]["error"] = type(exc).__name__
            self.log.info("request_refused", extra=fields)
        try:
            util.write_nonblock(client, _render(status, kind, title, request_id))
        except Exception:  # noqa: BLE001 - the peer may be gone in any way; there is nobody left to tell
            self.log.debug("The peer left before its answer.")


def _render(status: int, kind: str, title: str, request_id: str) -> bytes:
    document = {
        "type": f"urn:pouw:problem:{kind}",
        "title": f"{title}.",
        "status": status,
        "instance": f"urn:pouw:request:{request_id}",
    }
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"X-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body
