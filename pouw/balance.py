"""Connections, shared out evenly among the workers of a node.

All workers accept from one listening socket, and the kernel wakes them in an order of its own: the first one awake can
take every connection of a burst and keep them for hours, while the others idle. So the workers count their connections
in memory that they share, and one that has clearly more than another leaves a new one to it, for a moment.
"""

from __future__ import annotations

import mmap
import struct
import time
from typing import Any

import gevent
from gevent.server import StreamServer

_SEATS = 1_024  # more than workers ever live at a time
_ENTRY = struct.Struct("=q")
_PAUSE_SECS = 0.001
_PATIENCE_SECS = 0.004
_SLACK = 8
"""A worker may have an eighth more connections than another before it holds back."""


class Board:
    """How many connections each worker has; made before the fork, so that all of them see it.

    A worker is known by a number that no other living one has. An entry is one more than its connections, 0 where there
    is no such worker.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SEATS * _ENTRY.size)

    def set(self, number: int, connections: int) -> None:
        """Note how many connections a worker has."""
        _ENTRY.pack_into(self._memory, number % _SEATS * _ENTRY.size, connections + 1)

    def clear(self, number: int) -> None:
        """Forget a worker that ended."""
        _ENTRY.pack_into(self._memory, number % _SEATS * _ENTRY.size, 0)

    def fewest(self, *, besides: int) -> int | None:
        """Return the connections of the other worker that has fewest; None where there is no other."""
        entries = struct.unpack_from(f"={_SEATS}q", self._memory)
        others = [entry for place, entry in enumerate(entries) if entry and place != besides % _SEATS]
        return min(others) - 1 if others else None


class Share:
    """One worker's part of the board, and when it leaves a connection to another."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self._number = number
        self._connections = 0
        self._leaving = False
        self._since: float | None = None
        board.set(number, 0)

    def took(self) -> None:
        """Count a connection that was accepted."""
        self._count(1)

    def ended(self) -> None:
        """Count a connection no more."""
        self._count(-1)

    def leave(self) -> None:
        """Let nobody wait for this worker any more: it takes no more connections."""
        self._board.clear(self._number)
        self._leaving = True

    def _count(self, change: int) -> None:
        self._connections += change
        if not self._leaving:
            self._board.set(self._number, self._connections)

    def holds_back(self) -> bool:
        """Whether another worker has clearly fewer connections; only for a moment, because it may be busy or stuck."""
        fewest = self._board.fewest(besides=self._number)
        if fewest is None or (self._connections - fewest) * _SLACK <= self._connections:
            self._since = None
            return False
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since < _PATIENCE_SECS:
            return True
        self._since = None
        return False


class Server(StreamServer):
    """Accepts connections as long as it is this worker's turn.

    It takes several at a time: those who connect while others keep the worker busy would wait for a turn of the event
    loop each.
    """

    max_accept = 16

    def __init__(self, share: Share, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._share = share

    def do_read(self) -> Any:
        """Accept a connection; None where there is none, or where another worker is to take it."""
        if not self._share.holds_back():
            accepted = super().do_read()
            if accepted is not None:
                self._share.took()
            return accepted
        self.stop_accepting()  # not to keep the other one from a processor by asking again and again
        gevent.spawn_later(_PAUSE_SECS, self._go_on)
        return None

    def do_close(self, sock: Any, *arguments: Any) -> None:
        """Close a connection that :meth:`do_read` returned; gevent calls this once for each, however it ends."""
        self._share.ended()
        super().do_close(sock, *arguments)

    def _go_on(self) -> None:
        if self.started:
            self.start_accepting()
