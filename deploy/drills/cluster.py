"""Debian's PostgreSQL in a folder of the drill's, for what the embedded one has no tools for."""

from __future__ import annotations

import getpass
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from deploy.drills.power import cut
from pouw.local import process
from pouw.local.place import Account
from pouw.local.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

BIN = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"
_START_SECS = 60


def postgres_account() -> Account:
    """Return Debian's account for PostgreSQL: its programs refuse to be root's."""
    found = pwd.getpwnam(USER)
    return Account(USER, found.pw_uid, found.pw_gid)


def run(command: list[str | Path], env: Mapping[str, str] | None = None) -> str:
    """Run a program as PostgreSQL's account; return what it printed, raise with what it complained about."""
    account = postgres_account()
    done = subprocess.run(
        command, env=env, cwd="/", user=account.uid, group=account.gid, extra_groups=[], capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def own_folder(path: Path, mode: int = 0o700) -> Path:
    """Make a folder that belongs to PostgreSQL's account."""
    postgres_account().own(path, mode)
    return path


class Cluster:
    """One cluster; whoever runs the drill may enter by its socket, and ``network`` by TCP at ``listen``."""

    def __init__(self, folder: Path, *, listen: str = "", network: str = "", **settings: str) -> None:
        self.port = free_port()
        self.folder = own_folder(folder / "cluster", 0o755)
        self.data = self.folder / "data"
        self._listen = listen
        self._network = network
        self._settings = {
            "listen_addresses": listen,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "hba_file": str(self.folder / "hba.conf"),
            "ident_file": str(self.folder / "ident.conf"),
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL by the socket."""
        return f"postgresql://{USER}@/pouw?host={self.folder}&port={self.port}"

    @property
    def tcp_url(self) -> str:
        """The URL by TCP."""
        return f"postgresql://{USER}@{self._listen}:{self.port}/pouw"

    def create(self) -> None:
        """Make an empty cluster with a database ``pouw``, and start it."""
        run([BIN / "initdb", f"--pgdata={self.data}", f"--username={USER}", "--encoding=UTF8", "--no-locale"])
        rules = "local all all peer map=drill\n" + (f"host all all {self._network} trust\n" if self._network else "")
        (self.folder / "hba.conf").write_text(rules)
        (self.folder / "ident.conf").write_text(f"drill {getpass.getuser()} {USER}\ndrill {USER} {USER}\n")
        self.start()
        with psycopg.connect(self.url.replace("/pouw?", "/postgres?"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE pouw")

    def start(self) -> None:
        """Start it, and wait until it takes writes."""
        command: list[str | Path] = [BIN / "postgres", "-D", self.data]
        command += [f"--{name}={value}" for name, value in self._settings.items()]
        self._process = process.start(
            command, account=postgres_account(), log=self.folder / "log", when_orphaned=signal.SIGINT
        )
        deadline = time.monotonic() + _START_SECS
        while not self._writable():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def _writable(self) -> bool:
        url = self.url.replace("/pouw?", "/postgres?")
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        except psycopg.OperationalError:
            return False

    def destroy(self) -> None:
        """End it at once and remove all of its data."""
        self.kill()
        shutil.rmtree(self.data)

    def kill(self) -> None:
        """End all of its processes at once."""
        if self._process is not None and self._process.poll() is None:
            cut(self._process.pid)
            self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            process.stop(self._process, signal.SIGINT, 60)
