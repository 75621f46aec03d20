"""Real servers for all tests, and a fresh database for each who asks."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pouw.local.servers import LocalServers
from pouw.store import migrations
from tests.support import Http, Identity, Node, node_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Examples are never judged by how long they take: the machine is shared.
hypothesis.settings.register_profile(
    "pouw", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("pouw")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: half of a run's time, tests wait for servers to start, stop or notice."""
    return (os.cpu_count() or 1) + 1


class StartNode:
    """Starts a node on a database; settings come without their prefix, other variables in capitals."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        self._redis_url = redis_url
        self._folder = folder
        self._started: list[Node] = []

    def __call__(self, database_url: str, **settings: object) -> Node:
        environ = {
            "POUW_DATABASE_URL": database_url,
            "POUW_REDIS_URL": self._redis_url,
            "POUW_NODE_SECRET_KEY": node_key(),
            "POUW_RATE_LIMIT_IP": "1000000",
            "POUW_RATE_LIMIT_DID": "1000000",
            "POUW_WORKERS": "2",
            "POUW_REDIS_TIMEOUT_MS": "5000",  # on a busy machine, a test of something else must not find it away
        }
        environ |= {name if name.isupper() else f"POUW_{name.upper()}": str(text) for name, text in settings.items()}
        node = Node(self._folder / f"node-{len(self._started)}.log", environ)
        self._started.append(node)
        return node.start()

    def stop(self, database_url: str | None = None) -> None:
        """End the nodes on a database, or all."""
        for node in self._started:
            if database_url in {None, node.environ["POUW_DATABASE_URL"]}:
                node.stop()


@pytest.fixture(scope="session")
def open_tmp() -> Iterator[Path]:
    """A temporary directory that an unprivileged account can enter."""
    directory = Path(tempfile.mkdtemp(prefix="pouw-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def servers(open_tmp: Path) -> Iterator[LocalServers]:
    """PostgreSQL and Valkey for the whole run."""
    with LocalServers(open_tmp / "servers") as running:
        yield running


@pytest.fixture(scope="session")
def template(servers: LocalServers) -> str:
    """The name of a migrated database to copy."""
    assert servers.postgres is not None
    with psycopg.connect(servers.postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_pouw")
    migrations.run(servers.postgres.url("template_pouw"), "up")
    return "template_pouw"


@pytest.fixture(scope="session")
def new_database(servers: LocalServers, template: str) -> Callable[[], str]:
    """Make migrated databases and return their URLs."""

    def make() -> str:
        assert servers.postgres is not None
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(servers.postgres.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return servers.postgres.url(name)

    return make


@pytest.fixture(scope="session")
def start_node(servers: LocalServers, open_tmp: Path) -> Iterator[StartNode]:
    """Start nodes; all of them end with the run at the latest."""
    assert servers.valkey is not None
    start = StartNode(servers.valkey.url, open_tmp)
    yield start
    start.stop()


@pytest.fixture
def database_url(servers: LocalServers, new_database: Callable[[], str], start_node: StartNode) -> Iterator[str]:
    """A migrated database that this test has to itself; to delete the files of all at the end would take minutes."""
    url = new_database()
    yield url
    start_node.stop(url)
    assert servers.postgres is not None
    with psycopg.connect(servers.postgres.url("postgres"), autocommit=True) as connection:
        name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="session")
def shared_url(new_database: Callable[[], str]) -> str:
    """The database of the shared node."""
    return new_database()


@pytest.fixture(scope="session")
def shared_node(start_node: StartNode, shared_url: str) -> Node:
    """A node for all tests that leave it as they found it; each brings its own DID."""
    return start_node(shared_url)


@pytest.fixture
def http(shared_node: Node) -> Http:
    """A client of the shared node."""
    return shared_node.http


@pytest.fixture
def client() -> Identity:
    """A client that nobody knows yet."""
    return Identity()


@pytest.fixture
def db(shared_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A look into the shared node's database."""
    with psycopg.connect(shared_url, autocommit=True) as connection:
        yield connection
