"""Who exists is not to be told from the work that a request causes: statements are counted, not seconds."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from tests.support import API, Http, Identity, batch_body, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pouw.local.servers import LocalServers
    from tests.conftest import StartNode
    from tests.support import Response

_BACKGROUND = re.compile(
    r"node_keys|blocked_networks|pg_advisory_lock|SHOW |^SELECT '$|^SELECT 1$"
    r"|^SELECT extract\(epoch FROM clock_timestamp\(\)\)|^SELECT reason, set_by, set_at, ends_at FROM maintenance$"
)
"""What is asked now and then, whoever sends what: it may fall between two marks."""


class Statements:
    """Reads the statements of one database out of the server's log."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

    def mark(self) -> str:
        """Write a mark into the log and wait until it is there."""
        mark = f"mark-{secrets.token_hex(8)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("SELECT {}").format(sql.Literal(mark)))
        wait_for(lambda: mark in self.log.read_text(errors="replace"))
        return mark

    def of(self, ask: Callable[[], Response]) -> tuple[Response, list[str]]:
        """Return an answer and the statements that it caused, without what a worker does in the background."""
        first = self.mark()
        answer = ask()
        last = self.mark()
        text = self.log.read_text(errors="replace").split(first, 1)[1].split(last, 1)[0]
        found = re.findall(
            r"LOG:  (?:execute [^:]*|statement): (.*?)(?=^\d{4}-\d\d-\d\d |\Z)", text, re.DOTALL | re.MULTILINE
        )
        plain = [" ".join(each.split()) for each in found]
        return answer, sorted(each for each in plain if not _BACKGROUND.search(each) and "mark-" not in each)


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    """A database that writes down its statements."""
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET log_statement = 'all'").format(name))
    return url


@pytest.fixture(scope="module")
def http(start_node: StartNode, url: str) -> Iterator[Http]:
    """A node on that database."""
    node = start_node(url, workers=1)
    yield node.http
    node.stop()


@pytest.fixture(scope="module")
def statements(servers: LocalServers, open_tmp: Path, url: str) -> Statements:
    """The statements of that database."""
    [log] = (open_tmp / "servers").rglob("postgres.log")
    return Statements(url, log)


@pytest.fixture
def known(url: str) -> str:
    """A registered DID."""
    did = f"did:zhtp:{secrets.token_hex(8)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO identities (did, public_key) VALUES (%s, %s)", (did, Identity().public_key))
        connection.execute(
            "INSERT INTO disputes (client_did, subject, subject_id, claim) VALUES (%s, 'reward', '1', 'x')", (did,)
        )
    return did


def nobody() -> str:
    return f"did:zhtp:{secrets.token_hex(8)}"


def without(answer: Response, *dids: str) -> str:
    """Return an answer's document without what is its own: the request id and the DIDs that were sent."""
    text = re.sub(r"request:[0-9a-f]{32}", "", answer.body.decode())
    for did in dids:
        text = text.replace(did, "DID")
    return text


@pytest.mark.parametrize("path", ["/receipts/{}", "/rewards/{}", "/disputes/{}", "/clients/{}/history"])
def test_a_stranger_cannot_tell_who_exists(
    http: Http, statements: Statements, client: Identity, known: str, path: str
) -> None:
    """A stranger asks for a DID that is registered and for one that is not: one answer, one list of statements."""
    unknown = nobody()
    (first, cost), (second, same) = (
        statements.of(lambda did=did: signed(http, client, "GET", API + path.format(did)))  # type: ignore[misc]
        for did in (known, unknown)
    )
    assert first.status == second.status == 403
    assert without(first, known) == without(second, unknown)
    assert cost == same
    assert cost


def test_an_unsigned_request_costs_no_statement(http: Http, statements: Statements, known: str) -> None:
    """Without a signature nothing is looked up, so nothing can be told from it."""
    for did in (known, nobody()):
        answer, cost = statements.of(lambda did=did: http.get(f"{API}/receipts/{did}"))  # type: ignore[misc]
        assert answer.status == 401
        assert cost == []


def test_a_forged_signature_costs_the_same_for_every_did(http: Http, statements: Statements, known: str) -> None:
    """A stranger signs in the name of a registered DID and of nobody: one look-up each."""
    thief = Identity()
    costs = []
    for did in (known, nobody()):
        answer, cost = statements.of(lambda did=did: signed(http, thief, "GET", f"{API}/quota", did=did))  # type: ignore[misc]
        assert answer.status == 401
        costs.append(cost)
    assert costs[0] == costs[1]
    assert len(costs[0]) == 1


def test_a_batch_in_anothers_name_costs_the_same_for_every_did(http: Http, statements: Statements, known: str) -> None:
    """Batches that prove nobody, under a registered DID and under nobody's, run the same statements."""
    thief, token = Identity(), http.challenge()
    costs: list[list[str]] = []
    for _ in range(8):  # each worker asks once for what it then remembers
        http.request("POST", f"{API}/submit", thief.batch([{}]), Content_Type="application/json", Connection="close")
    for did in (known, nobody()):
        items: list[Any] = [thief.item(token), thief.item(token, client_did=did), {}]
        body = batch_body(did, items, batch_nonce=secrets.token_hex(16))
        answer, cost = statements.of(lambda body=body: http.submit(body))  # type: ignore[misc]
        assert answer.json["accepted"] == []
        costs.append(cost)
    assert costs[0] == costs[1]
    assert len(costs[0]) == 2  # one that looks up, one that settles
