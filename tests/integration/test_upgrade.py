"""Upgrades and the way back: migrations under load, and the previous version on the new schema."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from pouw.cli import main
from pouw.errors import MigrationError
from pouw.store import migrations
from tests.integration.test_migrations import empty_url as empty_url  # noqa: PLC0414 - a fixture
from tests.integration.test_restart import Load
from tests.support import Identity, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import StartNode
    from tests.support import Node

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "migrations").glob("*.sql"))
LONGEST_WAIT_SECS = 2.0
_ROUND: tuple[migrations.Command, ...] = ("down", "up")
_COMPILED = ("pouw/_fastverify.pyx", "pouw/_fast", "pouw/ed25519", "setup.py")


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", "-C", ROOT, "-c", "safe.directory=*", *arguments], capture_output=True, check=False, timeout=60
    )


def contracts(file: Path) -> str | None:
    """Return the version of the migration that this one completes, if it takes away what nobody needs after it."""
    found = re.search(r"^-- contract: (\d{14})$", file.read_text().split("-- migrate:down")[0], re.MULTILINE)
    return found[1] if found else None


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


def applied(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {str(row[0]) for row in connection.execute("SELECT version FROM schema_migrations").fetchall()}


class Writers:
    """Takes, again and again, the lock of whoever writes on each table there is, and notes the longest wait."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self.longest = 0.0
        self.locks = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._ended.is_set():
                rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
                for (table,) in rows:
                    self._lock(connection, str(table))
                time.sleep(0.002)

    def _lock(self, connection: psycopg.Connection[tuple[object, ...]], table: str) -> None:
        start = time.monotonic()
        try:
            with connection.transaction():
                connection.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(sql.Identifier(table)))
        except psycopg.errors.UndefinedTable:
            pass  # the migration that was waited for dropped it
        self.longest = max(self.longest, time.monotonic() - start)
        self.locks += 1


def test_no_migration_keeps_writers_waiting_up_or_down(empty_url: str, tmp_path: Path) -> None:
    """Each is applied, undone and applied again while writers come and go on every table."""
    waits: dict[str, float] = {}
    for file in FILES:
        shutil.copy(file, tmp_path)
        with Writers(empty_url) as writers:
            for step in ("up", "down", "up"):
                migrations.run(empty_url, step, files=tmp_path)
        waits[file.name] = writers.longest
        assert writers.locks > 0 or file == FILES[0]
    assert max(waits.values()) < LONGEST_WAIT_SECS, waits


def test_a_migration_that_holds_a_lock_for_long_would_be_seen(empty_url: str, tmp_path: Path) -> None:
    shutil.copy(FILES[0], tmp_path)
    migrations.run(empty_url, "up", files=tmp_path)
    (tmp_path / "20991231000001_long.sql").write_text(
        "-- migrate:up\nALTER TABLE receipts ADD COLUMN x integer;\nSELECT pg_sleep(2.5);\n-- migrate:down\n"
    )
    with Writers(empty_url) as writers:
        migrations.run(empty_url, "up", files=tmp_path)
    assert writers.longest > LONGEST_WAIT_SECS


def test_a_migration_that_does_not_get_its_locks_gives_up_and_changes_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """Somebody reads for hours; the migration waits for its lock timeout, and is tried again later."""
    for file in FILES:
        shutil.copy(file, tmp_path)
    (tmp_path / "20991231000001_wide.sql").write_text(
        "-- migrate:up\nSET LOCAL lock_timeout = '1s';\nALTER TABLE receipts ADD COLUMN x integer;\n"
        "-- migrate:down\nSET LOCAL lock_timeout = '1s';\nALTER TABLE receipts DROP COLUMN x;\n"
    )
    for step in ("up", "down"):
        before = applied(database_url)
        with psycopg.connect(database_url) as reader:
            reader.execute("LOCK TABLE receipts IN ACCESS SHARE MODE")
            started = time.monotonic()
            with pytest.raises(MigrationError, match="lock timeout"):
                migrations.run(database_url, step, files=tmp_path)
            assert time.monotonic() - started < 15
        assert applied(database_url) == before
        migrations.run(database_url, step, files=tmp_path)
        assert applied(database_url) != before


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_every_migration_waits_for_locks_for_seconds_only(file: Path) -> None:
    up, down = file.read_text().split("-- migrate:down")
    for half in (up, down):
        assert re.search(r"^SET LOCAL lock_timeout = '[1-5]s';$", half, re.MULTILINE)


_TAKES_AWAY = re.compile(
    r"\b(?:DROP(?! CONSTRAINT \w+_check\b)|RENAME|TRUNCATE|SET NOT NULL|ALTER COLUMN \w+ (?:SET DATA )?TYPE)\b"
    r"|ADD COLUMN [^,;]*NOT NULL(?![^,;]*DEFAULT)",
    re.IGNORECASE,
)


def takes_away(statements: str) -> list[str]:
    """Return what would break a version that knows nothing of it."""
    return _TAKES_AWAY.findall(re.sub(r"--.*", "", statements))


@pytest.mark.parametrize(
    ("statement", "takes"),
    [
        ("ALTER TABLE a DROP COLUMN b;", True),
        ("ALTER TABLE a RENAME COLUMN b TO c;", True),
        ("ALTER TABLE a ALTER COLUMN b TYPE bigint;", True),
        ("ALTER TABLE a ALTER COLUMN b SET NOT NULL;", True),
        ("ALTER TABLE a ADD COLUMN b integer NOT NULL;", True),
        ("DROP FUNCTION f;", True),
        ("ALTER TABLE a DROP CONSTRAINT a_b_key;", True),
        ("ALTER TABLE a DROP CONSTRAINT a_b_check;", False),
        ("ALTER TABLE a ADD COLUMN b integer NOT NULL DEFAULT 0;", False),
        ("ALTER TABLE a ADD COLUMN b integer, ADD COLUMN c text;", False),
        ("CREATE TABLE a (b integer NOT NULL); -- DROP nothing", False),
    ],
)
def test_what_takes_away_is_told_from_what_adds(statement: str, takes: bool) -> None:
    assert bool(takes_away(statement)) is takes


@pytest.mark.parametrize(
    "file", [each for each in FILES if each.name[:14] > migrations.FLOOR], ids=lambda file: str(file.name)
)
def test_a_migration_only_adds_unless_it_says_what_it_completes(file: Path) -> None:
    """One that takes away begins with `-- contract: VERSION`, the migration after which nothing used it any more."""
    completed = contracts(file)
    if completed is not None:
        assert any(each.name.startswith(completed) and each.name < file.name for each in FILES)
    else:
        assert takes_away(file.read_text().split("-- migrate:down")[0]) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "20200101000000"], "20200101000000 was never applied"),
        (["--to", "nonsense"], "nonsense was never applied"),
    ],
)
def test_a_target_that_was_never_applied_changes_nothing(database_url: str, arguments: list[str], said: str) -> None:
    before = applied(database_url)
    done = CliRunner().invoke(main, ["rollback", "--yes", *arguments], env={"POUW_DATABASE_URL": database_url})
    assert (done.exit_code, said in done.output) == (2, True)
    assert applied(database_url) == before


@pytest.mark.parametrize("stays", [file.name[:14] for file in FILES if file.name[:14] < migrations.FLOOR])
def test_no_way_back_loses_what_was_acknowledged_or_is_owed(
    start_node: StartNode, database_url: str, client: Identity, stays: str
) -> None:
    node = start_node(database_url, workers=1)
    node.http.accepted(client.batch(client.items(node.http.challenge(), 3)))
    node.stop()
    kept, before = receipts(database_url), applied(database_url)
    done = CliRunner().invoke(main, ["rollback", "--to", stays, "--yes"], env={"POUW_DATABASE_URL": database_url})
    assert (done.exit_code, "Restore a backup." in done.output) == (2, True)
    assert (receipts(database_url), applied(database_url)) == (kept, before)
    assert sum(kept.values()) == 3


def test_a_migration_of_a_later_version_is_not_undone_by_an_earlier_one(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES ('99990101000001')")
    done = CliRunner().invoke(main, ["rollback", "--yes"], env={"POUW_DATABASE_URL": database_url})
    assert done.exit_code == 2
    assert "does not know 99990101000001: use the one that brought it" in done.output


def test_several_migrations_are_undone_down_to_the_one_that_stays(database_url: str) -> None:
    environ = {"POUW_DATABASE_URL": database_url}
    stays = FILES[-3].name.split("_")[0]
    done = CliRunner().invoke(main, ["rollback", "--to", stays, "--yes"], env=environ)
    assert done.output == f"undone: {FILES[-1].name}\nundone: {FILES[-2].name}\n"
    assert max(applied(database_url)) == stays
    assert CliRunner().invoke(main, ["rollback", "--to", stays], env=environ).output == "Nothing to undo.\n"
