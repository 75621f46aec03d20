"""The embedded servers of one data directory, started and stopped together."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from typing import TYPE_CHECKING, Self

from pouw.errors import LocalServerError
from pouw.local.place import find_home, server_account, socket_directory
from pouw.local.postgres import EmbeddedPostgres
from pouw.local.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from pathlib import Path

_REVIVE_SECS = 20


class LocalServers:
    """PostgreSQL and Valkey below one data directory, each only where it is wanted.

    As a context manager it takes the directory for itself, starts the servers, and stops them at the end.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        postgres: bool = True,
        valkey: bool = True,
        postgres_settings: dict[str, str] | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._lock = _lock(data_dir)
        self._started = False
        account = server_account()
        self._home = find_home(data_dir, account)
        self._sockets = socket_directory(self._home, account)
        self.postgres = EmbeddedPostgres(self._home, self._sockets, account, postgres_settings) if postgres else None
        self.valkey = EmbeddedValkey(self._home, self._sockets, account) if valkey else None

    def __enter__(self) -> Self:
        try:
            self.revive()
        except BaseException:
            self.__exit__()
            raise
        return self

    def revive(self) -> None:
        """Start every wanted server that does not run: the first time, or after one was killed.

        What a killed server left behind may need some seconds to go: its last sessions hold its memory.
        """
        for server in (self.postgres, self.valkey):
            deadline = time.monotonic() + (_REVIVE_SECS if self._started else 0)
            while server is not None and not server.running():
                try:
                    server.start()
                except LocalServerError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.5)
        self._started = True

    def __exit__(self, *_exception: object) -> None:
        for server in (self.valkey, self.postgres):
            if server is not None:
                server.stop()
        if self._sockets.parent != self._home:
            shutil.rmtree(self._sockets, ignore_errors=True)
        os.close(self._lock)


def _lock(data_dir: Path) -> int:
    """Take a data directory, made if missing, for this process; the lock goes with the process."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LocalServerError(f"The data directory {data_dir} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise LocalServerError(f"The data directory {data_dir} is in use by another node") from None
    return descriptor
