"""The load generator: one thread, non-blocking sockets, requests rendered beforehand.

In an open loop request *n* is due at ``start + n / rate`` whether earlier ones were answered or not, and its latency
counts from then: a node that stalls is charged for everything that waited (no coordinated omission). In a closed loop
every connection sends its next request as soon as it has its answer. Connections are kept.
"""

from __future__ import annotations

import contextlib
import gc
import math
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

OK = 200
_READ_BYTES = 262_144
_STALL_SECS = 30.0
_BUSY_SHARE = 0.7
_LATE_SECS = 0.005


@dataclass(slots=True)
class Answer:
    """One request and its answer. Times are seconds since the start; ``status`` is 0 where the connection broke.

    In a closed loop a request is due when it is sent.
    """

    index: int
    due: float
    sent: float
    done: float
    status: int
    body: bytes


@dataclass(slots=True)
class Run:
    """What a run of the generator saw.

    ``cpu_share`` is of one core; ``late_p99`` is by how many seconds requests left after they were due although a
    connection was free.
    """

    answers: list[Answer]
    seconds: float
    cpu_share: float
    late_p99: float
    warnings: list[str] = field(default_factory=list)


class _Connection:
    __slots__ = ("answer", "ends", "inbox", "need", "outbox", "sock", "status")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.outbox: memoryview | None = None
        self.inbox = bytearray()
        self.need = -1
        self.status = 0
        self.ends = False
        self.answer: Answer | None = None


class Generator:
    """Sends requests over a fixed number of connections to one ``http://host:port``."""

    def __init__(self, base: str, connections: int) -> None:
        parts = urlsplit(base)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._selector = selectors.DefaultSelector()
        self._idle = [self._connect() for _ in range(connections)]
        self._connections = connections
        self._requests: Sequence[bytes | memoryview] = ()
        self._rate: float | None = None
        self._until = math.inf
        self._following = 0
        self._waiting: deque[int] = deque()
        self._answers: list[Answer] = []
        self._late: list[float] = []
        self._start = self._shown = self._heard = 0.0

    def run(
        self,
        requests: Sequence[bytes | memoryview],
        *,
        rate: float | None,
        seconds: float = math.inf,
        progress: bool = True,
    ) -> Run:
        """Send every request once: at ``rate`` a second, all at once where it is infinite; None is a closed loop.

        What is due after ``seconds`` is not sent. Raises :class:`TimeoutError` where answers stop coming.
        """
        self._requests, self._rate, self._until = requests, rate, seconds
        self._following, self._answers, self._late = 0, [], []
        self._waiting.clear()
        self._shown = self._heard = 0.0
        gc.collect()
        gc.disable()
        cpu = time.thread_time()
        self._start = time.perf_counter()
        try:
            while self._more(self._now()) or self._waiting or len(self._idle) < self._connections:
                self._feed()
                events = self._selector.select(self._pause())
                for key, mask in events:
                    self._handle(key.data, mask)
                self._watch(bool(events), progress)
        finally:
            gc.enable()
        took = self._now()
        if progress:
            print(file=sys.stderr)
        return self._result(took, time.thread_time() - cpu)

    def close(self) -> None:
        """Close every connection."""
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _now(self) -> float:
        return time.perf_counter() - self._start

    def _more(self, now: float) -> bool:
        """Tell whether one is still to be sent: due in time, however late it is looked for in an open loop."""
        due = now if self._rate is None else self._following / self._rate
        return self._following < len(self._requests) and due < self._until

    def _feed(self) -> None:
        """Send what is due on the connections that are free."""
        if self._rate is None:
            while self._idle and self._more(now := self._now()):
                self._send(self._following, now)
                self._following += 1
            return
        now = self._now()
        while self._more(now) and self._following / self._rate <= now:
            if len(self._idle) > len(self._waiting):
                self._late.append(now - self._following / self._rate)
            self._waiting.append(self._following)
            self._following += 1
        while self._waiting and self._idle:
            index = self._waiting.popleft()
            self._send(index, index / self._rate)

    def _pause(self) -> float:
        now = self._now()
        if self._rate is None or not self._more(now):
            return 1.0
        return min(1.0, max(0.0, self._following / self._rate - now))

    def _watch(self, heard: bool, progress: bool) -> None:
        now = self._now()
        if heard or len(self._idle) == self._connections:
            self._heard = now
        if now - self._heard > _STALL_SECS:
            raise TimeoutError(f"no answer for {_STALL_SECS:g} s after {len(self._answers)} answers")
        if progress and now - self._shown >= 1:
            self._shown = now
            counts = f"{len(self._answers):,} of {len(self._requests):,} answered, {len(self._waiting):,} waiting"
            print(f"\r{now:6.0f} s  {counts}   ", end="", file=sys.stderr, flush=True)

    def _connect(self) -> _Connection:
        sock = socket.create_connection(self._address, timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        return connection

    def _send(self, index: int, due: float) -> None:
        connection = self._idle.pop()
        connection.answer = Answer(index, due, self._now(), 0.0, 0, b"")
        connection.outbox = memoryview(self._requests[index])
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
        if not mask & selectors.EVENT_READ or connection.sock.fileno() < 0:
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
            _read_head(connection)
        if 0 <= connection.need <= len(connection.inbox):
            self._finish(connection, connection.status)

    def _finish(self, connection: _Connection, status: int) -> None:
        answer = connection.answer
        if answer is None:
            raise RuntimeError("the server answered what was not asked")
        answer.done, answer.status = self._now(), status
        answer.body = bytes(connection.inbox).split(b"\r\n\r\n", 1)[-1] if status else b""
        self._answers.append(answer)
        if connection.ends or connection.outbox is not None or not status:
            self._drop(connection)
            connection = self._connect()
        connection.answer, connection.need = None, -1
        connection.inbox.clear()
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

    def _result(self, seconds: float, cpu: float) -> Run:
        late = sorted(self._late)
        run = Run(self._answers, seconds, cpu / seconds, late[int(len(late) * 0.99)] if late else 0.0)
        if self._rate is not None and math.isinf(self._rate):
            return run  # nothing could leave at once
        if run.cpu_share > _BUSY_SHARE:
            run.warnings.append(f"the generator itself used {run.cpu_share:.0%} of a core: it may be the bottleneck")
        if run.late_p99 > _LATE_SECS:
            run.warnings.append(f"the generator sent 1 % of the requests more than {run.late_p99 * 1000:.1f} ms late")
        return run


def _read_head(connection: _Connection) -> None:
    """Note status, length and whether the connection ends, once the whole head is there."""
    end = connection.inbox.find(b"\r\n\r\n")
    if end < 0:
        return
    head = bytes(connection.inbox[:end]).lower()
    connection.status = int(head[9:12])
    at = head.find(b"\r\ncontent-length:")
    connection.need = end + 4 + (int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
    connection.ends = b"connection: close" in head
