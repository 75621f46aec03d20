"""Answers, written with as few system calls as they have pieces."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from gunicorn import util
from gunicorn.http.wsgi import Response


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return str(util.http_date(second))


class Answer(Response):  # type: ignore[misc]  # Gunicorn has no types
    """Gunicorn's response, whose head waits for the first piece of its body, to leave with it in one packet."""

    headers_sent: bool  # Gunicorn's

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._head = b""

    @property
    def begun(self) -> bool:
        """Whether some of it has left."""
        return bool(self.headers_sent and not self._head)

    def default_headers(self) -> list[str]:
        """Return the status line and the headers that every answer has; the date is written once a second."""
        major, minor = self.req.version
        lines = [
            f"HTTP/{major}.{minor} {self.status}\r\n",
            f"Server: {self.version}\r\n",
            f"Date: {_date(int(time.time()))}\r\n",
            f"Connection: {'close' if self.should_close() else 'keep-alive'}\r\n",
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        return lines

    def send_headers(self) -> None:
        """Write the head down; it leaves with the first piece of the body, or when the answer ends without one."""
        if self.headers_sent:
            return
        lines = [*self.default_headers(), *[f"{name}: {value}\r\n" for name, value in self.headers], "\r\n"]
        self._head = "".join(lines).encode("latin-1")
        self.headers_sent = True

    def close(self) -> None:
        """End the answer."""
        self.send_headers()
        self._send(b"0\r\n\r\n" if self.chunked else b"")

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data: bytes) -> None:
        head, self._head = self._head, b""
        if head or data:
            self.sock.sendall(head + data)
