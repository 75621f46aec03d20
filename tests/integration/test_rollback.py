"""`pouw rollback`: down to the migration that stays, and no further than nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner

from pouw.cli import main
from pouw.store import migrations
from tests.integration.test_upgrade import receipts
from tests.schema import FILES, applied

if TYPE_CHECKING:
    from tests.conftest import StartNode
    from tests.support import Identity


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
