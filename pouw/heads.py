"""Heads of requests, each read once: clients send the same bytes again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gunicorn.http import wsgi
from gunicorn.http.message import Request as GunicornRequest

from pouw.answers import Answer

if TYPE_CHECKING:
    from gunicorn.http.unreader import Unreader

_END = b"\r\n\r\n"
_MOST_BYTES = 1_024
_MOST_HEADS = 512
_READ = ("method", "uri", "path", "query", "fragment", "version", "scheme")
"""What reading a head sets of a request, besides its headers."""

_CONNECTION = frozenset({"wsgi.input", "gunicorn.socket", "REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT"})
"""What an environment does not have from the head."""

_SECRET = frozenset({"AUTHORIZATION", "COOKIE", "SIGNATURE"})
"""Heads with one of these are not kept: they come once, or are nobody's to keep."""


@dataclass(slots=True)
class _Head:
    """What Gunicorn made of a head: the request's attributes, and the part of its environment that follows from it."""

    attributes: dict[str, Any]
    headers: tuple[tuple[str, str], ...]
    environ: dict[str, Any] | None = None


class Request(GunicornRequest):  # type: ignore[misc]  # Gunicorn has no types
    """A request whose head is not read again where Gunicorn has read the same bytes before, and accepted them.

    So there is one judgement of what a request is, which is Gunicorn's. It depends on the bytes alone as long as no
    header of a proxy's counts and no PROXY line comes before a head; where the configuration says otherwise, nothing
    is kept. How long the body is, is found anew for each request.
    """

    _known: dict[bytes, _Head] = {}  # noqa: RUF012 - one for all requests of a worker
    _kept: _Head | None = None

    def parse(self, unreader: Unreader) -> bytes:
        """Read a head, or recall it; return what came after it."""
        data = unreader.read()
        end = data.find(_END) + len(_END)
        head = data[:end] if len(_END) <= end <= _MOST_BYTES else None
        if head is not None and (known := self._known.get(head)) is not None:
            self.__dict__.update(known.attributes, headers=list(known.headers))
            self._kept = known
            return bytes(data[end:])
        unreader.unread(data)
        rest: bytes = super().parse(unreader)
        ends_there = len(rest) == len(data) - end  # for Gunicorn too
        if head is not None and ends_there and self._may_be_kept():
            if len(self._known) >= _MOST_HEADS:
                del self._known[next(iter(self._known))]
            self._kept = self._known[head] = _Head({name: getattr(self, name) for name in _READ}, tuple(self.headers))
        return rest

    def begin(self, sock: Any, client: Any, server: Any) -> tuple[Answer, dict[str, Any]]:
        """Return the answer to fill, and the environment for the application that fills it."""
        kept = self._kept
        on_tcp = isinstance(client, tuple) and isinstance(server, tuple)
        if kept is None or kept.environ is None or not on_tcp:
            answer, environ = wsgi.create(self, sock, client, server, self.cfg, response_class=Answer)
            environ["wsgi.multithread"] = True
            del environ["wsgi.early_hints"]  # it would write to this connection for whoever has the same head
            if kept is not None:
                kept.environ = {name: value for name, value in environ.items() if name not in _CONNECTION}
            return answer, environ
        return Answer(self, sock, self.cfg), kept.environ | {
            "wsgi.input": self.body,
            "gunicorn.socket": sock,
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": str(client[1]),
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
        }

    def _may_be_kept(self) -> bool:
        cfg = self.cfg
        depends_on_the_peer = cfg.secure_scheme_headers or cfg.forwarder_headers or cfg.proxy_protocol != "off"
        names = {name for name, _value in self.headers}
        return not depends_on_the_peer and not self._expected_100_continue and _SECRET.isdisjoint(names)
