"""Upgrades and the way back: the previous version on the new schema, beside this one, and under load."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections import Counter
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner

from pouw.cli import main
from pouw.store import migrations
from tests.integration.test_restart import Load
from tests.schema import FILES, applied, contracts
from tests.support import Identity, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode
    from tests.support import Node

ROOT = Path(__file__).parents[2]
_ROUND: tuple[migrations.Command, ...] = ("down", "up")
_COMPILED = ("pouw/_fastverify.pyx", "pouw/_fast", "pouw/ed25519", "setup.py")


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", "-C", ROOT, "-c", "safe.directory=*", *arguments], capture_output=True, check=False, timeout=60
    )


def previous_commit() -> str:
    """Return the commit before the newest migration, and before the one that it completes.

    Fails where the sources have no history.
    """
    first = contracts(FILES[-1]) or FILES[-1].name[:14]
    made = git("log", "--diff-filter=A", "--format=%H", "--", f"migrations/{first}_*.sql").stdout.decode().split()
    if not made:  # not committed yet
        commit = git("rev-parse", "HEAD").stdout.decode().strip()
    else:
        commit = git("rev-parse", "--verify", "--quiet", f"{made[-1]}^1").stdout.decode().strip()
    assert commit, "this needs the repository with the history of migrations/: the previous version comes from there"
    return commit


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the version before the newest migration runs."""
    folder, commit = tmp_path_factory.mktemp("previous"), previous_commit()
    archive = git("archive", commit)
    assert archive.returncode == 0, archive.stderr
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    if git("diff", "--quiet", commit, "--", *_COMPILED).returncode == 0:
        [built] = (ROOT / "pouw").glob("_fastverify.*.so")
        shutil.copy(built, folder / "pouw")
    else:
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=240)
    environ = {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    said = subprocess.run(
        [sys.executable, "-c", "import pouw; print(pouw.__file__)"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.startswith(str(folder))
    assert not (folder / "migrations" / FILES[-1].name).exists()
    return environ


@pytest.fixture(scope="module")
def both(
    start_node: StartNode, new_database: Callable[[], str], previous: dict[str, str]
) -> Iterator[tuple[str, Node, Node]]:
    """A database with the newest schema, a node of the previous version and one of this."""
    url = new_database()
    with contextlib.chdir(previous["PYTHONPATH"]):  # Gunicorn puts its folder in front of the path
        old = start_node(url, workers=1, **previous)
    new = start_node(url, workers=1)
    for node, folder in ((old, previous["PYTHONPATH"]), (new, str(ROOT))):
        [worker] = node.workers()
        loaded = [each.path for each in worker.memory_maps() if "_fastverify" in each.path]
        assert [Path(each).parent for each in loaded] == [Path(folder, "pouw")]
    yield url, old, new
    old.stop()
    new.stop()


@pytest.mark.history
def test_the_previous_version_works_with_the_new_schema_and_beside_the_new_version(
    both: tuple[str, Node, Node], client: Identity
) -> None:
    """Smoke passes; a challenge of one is spent at the other, and a retry gets the same words from either."""
    _url, old, new = both
    for node in (old, new):
        done = CliRunner().invoke(main, ["smoke", node.http.base])
        assert done.exit_code == 0, done.output
    for first, second in ((old, new), (new, old)):
        body = client.batch(client.items(first.http.challenge(), 2))
        answer = second.http.submit(body)
        assert len(answer.json["accepted"]) == 2
        again = first.http.submit(body)
        assert (again.body, again.headers["Idempotent-Replayed"]) == (answer.body, "true")


@pytest.mark.history
def test_what_either_version_credited_is_a_replay_at_both(both: tuple[str, Node, Node], client: Identity) -> None:
    """Also beside receipts that are new, and in a batch that comes together with others."""
    _url, old, new = both
    for first, second in ((old, new), (new, old)):
        spent = client.items(first.http.challenge(), 2)
        first.http.accepted(client.batch(spent))
        for node in (second, first):
            bodies = [client.batch(spent + client.items(node.http.challenge(), 1)) for _ in range(8)]
            with ThreadPoolExecutor(len(bodies)) as clients:
                answers = list(clients.map(node.http.submit, bodies))
            assert [len(answer.json["accepted"]) for answer in answers] == [1] * len(bodies)
            details = Counter(each["detail"] for answer in answers for each in answer.json["rejected"])
            assert details == {"duplicate_nonce": 2 * len(bodies)}


@pytest.mark.history
def test_copies_at_either_version_prove_nothing_of_who_sent_them(
    both: tuple[str, Node, Node], client: Identity
) -> None:
    """Promise 5 while both run: strangers send what was credited, several at once."""
    url, old, new = both
    copied = client.items(new.http.challenge(), 2)
    new.http.accepted(client.batch(copied))
    with ThreadPoolExecutor(12) as strangers:
        for node in (old, new):
            bodies = [client.batch(copied) for _ in range(12)]
            assert [answer.status for answer in strangers.map(node.http.submit, bodies)] == [200] * len(bodies)
    with psycopg.connect(url) as connection:
        proven = connection.execute("SELECT proven FROM batches WHERE client_did = %s ORDER BY id", (client.did,))
        assert [bool(row[0]) for row in proven] == [True] + [False] * 24


@pytest.mark.history
def test_a_batch_that_waits_while_the_newest_migration_goes_or_comes_is_credited_once(
    both: tuple[str, Node, Node], client: Identity
) -> None:
    """The previous version's call began under one schema, and ends under the other where that does not wait for it."""
    url, old, new = both
    new.stop()
    credited = []
    for step in _ROUND:
        items = client.items(old.http.challenge(), 3)
        with psycopg.connect(url) as holder, ThreadPoolExecutor(2) as threads:
            holder.execute("SELECT FROM challenges FOR UPDATE")
            answer = threads.submit(old.http.submit, client.batch(items))
            wait_for(lambda: waits(url))
            moved = threads.submit(migrations.run, url, step)
            futures.wait([moved], timeout=2)
            holder.rollback()
            assert len(answer.result(20).json["accepted"]) == 3
            moved.result(20)
        credited += items + client.items(old.http.challenge(), 2)
        old.http.accepted(client.batch(credited[-2:]))
        again = old.http.submit(client.batch(credited)).json
        assert [each["detail"] for each in again["rejected"]] == ["duplicate_nonce"] * len(credited)
    new.start()
    again = new.http.submit(client.batch(credited)).json
    assert [each["detail"] for each in again["rejected"]] == ["duplicate_nonce"] * len(credited)


def waits(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT FROM pg_locks WHERE NOT granted LIMIT 1").fetchone() is not None


@pytest.mark.history
def test_the_way_back_and_forth_again_under_load_fails_no_request(both: tuple[str, Node, Node]) -> None:
    """The new version leaves, the newest migration is undone under the old one's load and applied again."""
    url, old, new = both
    environ = {"POUW_DATABASE_URL": url}
    newest = FILES[-1].name
    earlier = receipts(url)
    with Load(old.http.base) as load:
        new.stop()
        assert CliRunner().invoke(main, ["rollback"], env=environ).output.startswith(f"to undo: {newest}\n")
        assert newest.split("_")[0] in applied(url)
        done = CliRunner().invoke(main, ["rollback", "--yes"], env=environ)
        assert (done.exit_code, done.output) == (0, f"undone: {newest}\n")
        assert newest.split("_")[0] not in applied(url)
        goes_on(load)
        migrations.run(url, "up")
        new.start()
        goes_on(load)
    assert load.faults == []
    assert set(load.statuses) == {200}
    assert receipts(url) - earlier == Counter(load.accepted)


def receipts(url: str) -> Counter[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT encode(receipt_nonce, 'hex') FROM receipts").fetchall()
    return Counter(str(row[0]) for row in rows)


def goes_on(load: Load) -> None:
    before = load.statuses[200]
    wait_for(lambda: load.statuses[200] > before + 20)
