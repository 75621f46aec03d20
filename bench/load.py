"""The load generator: one thread, non-blocking sockets, requests rendered beforehand.

In an open loop request *n* is due at ``start + n / rate`` whether earlier ones were answered or not, and its latency counts
from then: a node that stalls is charged for everything that waited (no coordinated omission). In a closed loop every
connection sends its next request as soon as it has its answer. Connections are kept.
"""

from __future__ import annotations

import contextlib
import gc
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

_READ_BYTES = 262_144
_STALL_SECS = 30.0
_BUSY_SHARE = 0.7
_LATE_SECS = 0.005


@dataclass(slots=True)
class Answer:
    """One request and its answer. Times are seconds since the start; ``status`` is 0 where the connection broke."""

    index: int
    due: float
    sent: float
    done: float
    status: int
    body: bytes


@dataclass(slots=True)
class Run:
    """What a run of the generator saw. ``cpu_share`` is of one core; ``late`` is by how much
    requests left after they were due although a connection was free."""

    answers: list[Answer]
    seconds: float
    cpu_share: float
    late_p99: float
    warnings: list[str] = field(default_factory=list)


class _Connection:
    __slots__ = ("answer", "inbox", "need", "outbox", "sock", "status")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.outbox: memoryview | None = None
        self.inbox = bytearray()
        self.need = -1
        self.status = 0
        self.answer: Answer | None = None


class Generator:
    """Sends requests over a fixed number of connections to one ``http://host:port``."""

    def __init__(self, base: str, connections: int) -> None:
        parts = urlsplit(base)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._selector = selectors.DefaultSelector()
        self._idle = [self._connect() for _ in range(connections)]
        self._answers: list[Answer] = []
        self._late: list[float] = []
        self._start = 0.0

    def run(self, requests: Sequence[bytes | memoryview], *, rate: float | None, progress: bool = True) -> Run:
        """Send every request once; at ``rate`` a second, or as fast as answers come where it is None."""
        waiting: deque[int] = deque()
        due_at = (lambda index: index / rate) if rate else (lambda _index: 0.0)
        following, total = 0, len(requests)
        gc.collect()
        gc.disable()
        cpu = time.process_time()
        self._start = time.perf_counter()
        shown = last_answer = 0.0
        try:
            while len(self._answers) < total:
                now = self._now()
                while following < total and due_at(following) <= now and (rate or self._idle_beyond(waiting)):
                    if self._idle_beyond(waiting):
                        self._late.append(now - due_at(following) if rate else 0.0)
                    waiting.append(following)
                    following += 1
                while waiting and self._idle:
                    index = waiting.popleft()
                    self._send(
                        self._idle.pop(), Answer(index, due_at(index), self._now(), 0.0, 0, b""), requests[index]
                    )
                pause = max(0.0, due_at(following) - self._now()) if rate and following < total else 1.0
                events = self._selector.select(min(pause, 1.0))
                for key, mask in events:
                    self._handle(key.data, mask)
                now = self._now()
                last_answer = now if events or not self._answers else last_answer
                if now - last_answer > _STALL_SECS:
                    raise TimeoutError(f"no answer for {_STALL_SECS:g} s; {total - len(self._answers)} are open")
                if progress and now - shown >= 1:
                    shown = now
                    _show(now, len(self._answers), total, len(waiting))
        finally:
            gc.enable()
        seconds = self._now()
        if progress:
            print(file=sys.stderr)
        return self._result(seconds, time.process_time() - cpu, closed=rate is None)

    def close(self) -> None:
        """Close every connection."""
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def _now(self) -> float:
        return time.perf_counter() - self._start

    def _idle_beyond(self, waiting: deque[int]) -> bool:
        return len(self._idle) > len(waiting)

    def _connect(self) -> _Connection:
        sock = socket.create_connection(self._address, timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        return connection

    def _send(self, connection: _Connection, answer: Answer, request: bytes | memoryview) -> None:
        connection.answer = answer
        connection.outbox = memoryview(request)
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        assert connection.outbox is not None
        try:
            sent = connection.sock.send(connection.outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._broken(connection)
            return
        connection.outbox = connection.outbox[sent:] if sent < len(connection.outbox) else None
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outbox is not None else 0)
        if self._selector.get_key(connection.sock).events != mask:
            self._selector.modify(connection.sock, mask, connection)

    def _handle(self, connection: _Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and connection.outbox is not None:
            self._flush(connection)
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = connection.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._broken(connection)
            return
        connection.inbox += data
        if connection.need < 0:
            end = connection.inbox.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(connection.inbox[:end]).lower()
            connection.status = int(head[9:12])
            at = head.find(b"content-length:")
            connection.need = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
            if b"connection: close" in head:
                connection.outbox = memoryview(b"")  # told below that this connection ends
        if len(connection.inbox) >= connection.need:
            self._finish(connection, connection.status)

    def _finish(self, connection: _Connection, status: int) -> None:
        answer = connection.answer
        assert answer is not None
        answer.done, answer.status = self._now(), status
        answer.body = bytes(connection.inbox).split(b"\r\n\r\n", 1)[-1] if status else b""
        self._answers.append(answer)
        ends = connection.outbox is not None or not status
        connection.answer, connection.outbox, connection.need = None, None, -1
        connection.inbox.clear()
        if ends:
            self._drop(connection)
            connection = self._connect()
        self._idle.append(connection)

    def _broken(self, connection: _Connection) -> None:
        if connection.answer is not None:
            self._finish(connection, 0)
        else:  # closed while idle, as servers do with connections that were quiet for long
            self._drop(connection)
            self._idle[self._idle.index(connection)] = self._connect()

    def _drop(self, connection: _Connection) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection.sock)
        connection.sock.close()

    def _result(self, seconds: float, cpu: float, *, closed: bool) -> Run:
        late = sorted(self._late)
        run = Run(self._answers, seconds, cpu / seconds, late[int(len(late) * 0.99)] if late else 0.0)
        if run.cpu_share > _BUSY_SHARE:
            run.warnings.append(f"the generator itself used {run.cpu_share:.0%} of a core: it may be the bottleneck")
        if not closed and run.late_p99 > _LATE_SECS:
            run.warnings.append(f"the generator sent 1 % of the requests more than {run.late_p99 * 1000:.1f} ms late")
        return run


def _show(now: float, done: int, total: int, waiting: int) -> None:
    print(
        f"\r{now:6.0f} s  {done:,} of {total:,} answered, {waiting:,} waiting   ", end="", file=sys.stderr, flush=True
    )
