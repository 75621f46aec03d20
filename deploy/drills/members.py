"""A Patroni cluster on one machine: three etcd, three PostgreSQL with Patroni, and HAProxy before them."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Self

from deploy.drills.cluster import BIN, own_folder, postgres_account
from deploy.drills.power import cut
from pouw.local import process
from pouw.local.ports import free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

HA = Path(__file__).parents[1] / "ha"
MEMBERS = 3
_START_SECS = 120


class _Program:
    """A program as PostgreSQL's account."""

    def __init__(self, log: Path, command: list[str | Path], env: Mapping[str, str]) -> None:
        self._log, self._command, self._env = log, command, env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = process.start(
            self._command,
            account=postgres_account(),
            log=self._log,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self._env},
        )

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "not started"
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None:
            process.stop(self._process, SIGTERM, 60)


class Member:
    """One PostgreSQL under Patroni."""

    def __init__(self, folder: Path, number: int, etcd: str, passwords: Mapping[str, str]) -> None:
        self.port, self.rest = free_port(), free_port()
        own = own_folder(folder / f"member-{number}")
        environ = {
            "PATRONI_NAME": f"db{number}",
            "PATRONI_RESTAPI_LISTEN": f"127.0.0.1:{self.rest}",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"127.0.0.1:{self.rest}",
            "PATRONI_POSTGRESQL_LISTEN": f"127.0.0.1:{self.port}",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"127.0.0.1:{self.port}",
            "PATRONI_POSTGRESQL_DATA_DIR": str(own / "data"),
            "PATRONI_POSTGRESQL_BIN_DIR": str(BIN),
            "PATRONI_POSTGRESQL_PGPASS": str(own / "pgpass"),
            "PATRONI_ETCD3_HOSTS": etcd,
            **passwords,
        }
        self._pid_file = own / "data" / "postmaster.pid"
        self.program = _Program(folder / f"member-{number}.log", ["/usr/bin/patroni", HA / "patroni.yml"], environ)

    def kill(self) -> None:
        """End Patroni and PostgreSQL, which is nobody's child, at once, as a power cut does."""
        postmaster = int(self._pid_file.read_text().split()[0])
        cut(self.program.pid, postmaster)

    def role(self) -> str:
        """Return what Patroni says that it is: ``master``, ``replica`` or nothing; Debian's calls a primary master."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/patroni", timeout=2) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            told = json.load(error)
        except (urllib.error.URLError, OSError):
            return ""
        return str(told.get("role", "")) if told.get("state") == "running" else ""

    def is_synchronous(self) -> bool:
        """Whether it is the standby that commits wait for."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/synchronous", timeout=2) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except (urllib.error.URLError, OSError):
            return False


class Cluster:
    """The whole of it, started and stopped as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._password = secrets.token_hex(16)
        self._port = free_port()
        clients, peers = [[free_port() for _ in range(MEMBERS)] for _ in range(2)]
        self._etcd = [self._one_etcd(number, clients, peers) for number in range(MEMBERS)]
        passwords = {
            "PATRONI_SUPERUSER_USERNAME": "postgres",
            "PATRONI_SUPERUSER_PASSWORD": self._password,
            "PATRONI_REPLICATION_USERNAME": "replicator",
            "PATRONI_REPLICATION_PASSWORD": secrets.token_hex(16),
        }
        hosts = ",".join(f"127.0.0.1:{port}" for port in clients)
        self.members = [Member(folder, number, hosts, passwords) for number in range(1, MEMBERS + 1)]
        environ = {"POUW_DB_BIND": f"127.0.0.1:{self._port}"}
        for number, member in enumerate(self.members, 1):
            environ |= {f"POUW_DB_{number}": f"127.0.0.1:{member.port}", f"POUW_DB_{number}_REST": str(member.rest)}
        self._haproxy = _Program(folder / "haproxy.log", ["/usr/sbin/haproxy", "-f", HA / "haproxy.cfg"], environ)

    def url(self, database: str) -> str:
        """The URL through HAProxy."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{database}"

    def __enter__(self) -> Self:
        try:
            for each in (*self._etcd, *(member.program for member in self.members), self._haproxy):
                each.start()
            self.wait(lambda: sum(member.role() == "replica" for member in self.members) == MEMBERS - 1)
            self.wait(lambda: any(member.is_synchronous() for member in self.members))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._haproxy.stop()
        for member in self.members:
            member.program.stop()
        for each in self._etcd:
            each.stop()

    def primary(self) -> Member:
        """Return the primary."""
        return next(member for member in self.members if member.role() in ("master", "primary"))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something of the cluster holds."""
        deadline = time.monotonic() + _START_SECS
        while not condition():
            if time.monotonic() > deadline:
                logs = [log.read_text()[-1000:] for log in sorted(self._folder.glob("*.log"))]
                raise TimeoutError("the cluster did not come to it:\n" + "\n".join(logs))
            time.sleep(0.2)

    def _one_etcd(self, number: int, clients: list[int], peers: list[int]) -> _Program:
        client, peer = (f"http://127.0.0.1:{ports[number]}" for ports in (clients, peers))
        members = ",".join(f"etcd{at}=http://127.0.0.1:{port}" for at, port in enumerate(peers))
        options = {
            "name": f"etcd{number}",
            "data-dir": own_folder(self._folder / f"etcd-{number}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": members,
        }
        command = ["/usr/bin/etcd", *(f"--{name}={value}" for name, value in options.items())]
        return _Program(self._folder / f"etcd-{number}.log", [*command], {})
