"""The connection pool, and the one place where a driver's error becomes the store's."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import gevent
import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from pouw.errors import StoreError, StoreUnavailable
from pouw.store import arrays

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType


class Pool(ConnectionPool[Connection[TupleRow]]):
    """A pool that knows how long a statement may take, which is not how long a connection is waited for."""

    statement_secs: float


_RECONNECT_SECS = 5.0  # then it gives up until the next request asks, so that its pauses never grow long
_GRACE_SECS = 1.0  # the server's own statement_timeout comes first
_UNAVAILABLE = (
    PoolTimeout,
    psycopg.OperationalError,  # gone, refused, in recovery, shut down, too many connections, time-outs
    psycopg.InterfaceError,  # a connection that was lost while it was ours
)


def open_pool(
    url: str, *, size: int, timeout: float, statement_secs: float | None = None, min_size: int | None = None
) -> Pool:
    """Open a pool that waits at most ``timeout`` seconds for a connection, and ``statement_secs`` for a statement.

    Without ``statement_secs`` both are the same.

    Every session commits durably, whatever the server's default is.
    """
    statement = timeout if statement_secs is None else statement_secs
    ours = (
        ("synchronous_commit", "on"),
        ("statement_timeout", f"{round(statement * 1000)}"),
        ("idle_in_transaction_session_timeout", f"{round(statement * 2000)}"),
        ("timezone", "UTC"),
    )
    given = str(conninfo_to_dict(url).get("options") or "")
    options = " ".join((given, *(f"-c {name}={value}" for name, value in ours))).strip()
    pool = Pool(
        url,
        kwargs={
            "autocommit": True,
            "options": options,
            "connect_timeout": max(2, round(timeout)),
            "client_encoding": "UTF8",
            "application_name": "pouw",
        },
        min_size=size if min_size is None else min_size,
        max_size=size,
        timeout=timeout,
        reconnect_timeout=_RECONNECT_SECS,
        configure=arrays.register,
        open=True,
        name="pouw",
    )
    pool.statement_secs = statement
    return pool


def address(pool: Pool) -> str:
    """Return where a pool's connections go, for a process that makes its own."""
    conninfo = pool.conninfo
    return conninfo if isinstance(conninfo, str) else conninfo()


class _Lease:
    """A connection for the length of a block, in which the driver's errors become the store's.

    It is cut after ``seconds``, where neither the server nor the network says anything any more: the driver waits for
    ever for a server that hangs. An exception thrown into it would make it wait again, for the rollback; a socket that
    is shut down ends every wait with the driver's own error.
    """

    __slots__ = ("_connection", "_patience", "_pool", "_seconds", "_timer")

    def __init__(self, pool: Pool, patience: float, seconds: float) -> None:
        self._pool = pool
        self._patience = patience
        self._seconds = seconds

    def __enter__(self) -> Connection[TupleRow]:
        try:
            self._connection = self._pool.getconn(self._patience)
        except psycopg.Error as error:
            raise _translated(error) from error
        self._timer = gevent.get_hub().loop.timer(self._seconds)
        try:
            self._timer.start(_cut, self._connection.fileno())
        except BaseException as error:  # it may be lost already
            self.__exit__(type(error), error, None)
            raise
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._timer.stop()
        self._timer.close()
        try:
            self._pool.putconn(self._connection)  # which rolls back what was left open and drops a broken connection
        except psycopg.Error as late:
            error = error or late
        if isinstance(error, psycopg.Error):
            raise _translated(error) from error


def session(pool: Pool) -> AbstractContextManager[Connection[TupleRow]]:
    """Lend a connection in autocommit: several statements that belong together need ``transaction()``.

    Raises :class:`StoreUnavailable` where the database is out of reach or too slow, and
    :class:`StoreError` for any other refusal.
    """
    return _Lease(pool, pool.timeout, pool.statement_secs + _GRACE_SECS)


def _cut(descriptor: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _translated(error: psycopg.Error) -> StoreError:
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(f"The database is out of reach: {type(error).__name__}")
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return StoreUnavailable("The database takes no writes: it is a standby")
    return StoreError(f"The database refused a statement: {type(error).__name__}")


def ping(pool: Pool, timeout: float) -> None:
    """Ask the database for an answer within ``timeout`` seconds; raise :class:`StoreUnavailable` without one."""
    with _Lease(pool, timeout, timeout) as connection:
        connection.execute("SELECT 1")
