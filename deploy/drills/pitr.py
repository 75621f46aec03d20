"""The drill for backups: a whole cluster destroyed, and restored to a chosen second with pgBackRest."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg

from deploy.drills.cluster import BIN, USER, Cluster, own_folder, run
from deploy.drills.load import Load
from deploy.drills.outcome import Outcome, outcome
from deploy.drills.site import Site
from pouw.store import migrations

CONFIG = Path(__file__).parents[1] / "pgbackrest" / "pgbackrest.conf"
_AFTER_SECS = 3.0


def restore() -> Outcome:
    """Back up under load, go on, destroy the cluster, restore it to a second between, and go on from there."""
    with Site(embedded=False) as site:
        repository = own_folder(site.folder / "repository")
        backups = _PgBackRest(site.folder, repository)
        cluster = Cluster(
            site.folder, wal_level="replica", archive_mode="on", archive_timeout="60", max_wal_senders="4",
            archive_command=backups.archive_command(),
        )  # fmt: skip
        backups.serve(cluster)
        try:
            cluster.create()
            migrations.run(cluster.url, "up")
            backups.run("stanza-create")
            node = site.node(database_url=cluster.url).start()
            with Load([node.url]) as load:
                began = time.monotonic()
                backups.run("backup", "--type=full")
                backed_up = time.monotonic() - began
                time.sleep(_AFTER_SECS)  # pgBackRest counts a backup's end in whole seconds
                chosen, until = _now(cluster), time.monotonic()
                time.sleep(_AFTER_SECS)
            _archive_all(cluster)
            node.stop()
            lost_at = time.monotonic()
            cluster.destroy()
            backups.run(
                "restore", "--type=time", f"--target={chosen}", "--target-action=promote",
                f"--recovery-option=restore_command={backups.restore_command()}",
            )  # fmt: skip
            cluster.start()
            restored = time.monotonic() - lost_at
            with Load([node.start().url], clients=2) as after:
                away = time.monotonic() - lost_at
            found = load.check(cluster.url, until)
            found.faults += after.check(cluster.url).faults
            later = sum(map(len, load.acknowledged().values())) - found.acknowledged
            with psycopg.connect(cluster.url) as connection:
                query = "SELECT count(*) FROM receipts WHERE submitted_at > %s AND client_did = ANY(%s)"
                dids = [worker.did for worker in load.workers]
                [beyond] = connection.execute(query, (chosen, dids)).fetchone() or (0,)
            if beyond:
                found.faults.append(f"{beyond} receipts are from after the chosen second")
            node.stop()
        finally:
            cluster.stop()
    did = "A cluster was destroyed after a backup under load, and restored with pgBackRest to a chosen second."
    return outcome(
        "pitr", did, away, 120, found,
        backup_under_load_took=f"{backed_up:.1f} s", restored_after=f"{restored:.1f} s",
        acknowledged_after_the_chosen_second_and_given_up=later,
    )  # fmt: skip


class _PgBackRest:
    """pgBackRest with ``deploy/pgbackrest/pgbackrest.conf``; the places are the drill's."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self._settings = {
            "PATH": f"/usr/bin:/bin:{BIN}",
            "PGBACKREST_CONFIG": str(CONFIG),
            "PGBACKREST_STANZA": "pouw",
            "PGBACKREST_REPO1_PATH": str(repository),
            "PGBACKREST_LOG_PATH": str(repository),
            "PGBACKREST_LOCK_PATH": str(repository / "lock"),
            "PGBACKREST_SPOOL_PATH": str(repository / "spool"),
            "PGBACKREST_PG1_PATH": str(folder / "cluster" / "data"),
            "PGBACKREST_PG1_SOCKET_PATH": str(folder / "cluster"),
            "PGBACKREST_PG1_USER": USER,
        }

    def archive_command(self) -> str:
        """Return what PostgreSQL runs for each finished WAL segment."""
        return f"{self._by_hand()} archive-push %p"

    def restore_command(self) -> str:
        """Return what PostgreSQL runs for each WAL segment that it replays."""
        return f'{self._by_hand()} archive-get %f "%p"'

    def _by_hand(self) -> str:
        return " ".join(("env", *(f"{name}={value}" for name, value in self._settings.items()), "pgbackrest"))

    def serve(self, cluster: Cluster) -> None:
        """Learn the port of the cluster, which is the last thing to be known."""
        self._settings["PGBACKREST_PG1_PORT"] = str(cluster.port)

    def run(self, command: str, *options: str) -> str:
        """Run one of its commands."""
        return run(["/usr/bin/pgbackrest", command, *options], env=self._settings)


def _now(cluster: Cluster) -> str:
    """Return the database's time, as a restore takes it."""
    with psycopg.connect(cluster.url) as connection:
        row = connection.execute("SELECT clock_timestamp()::text").fetchone()
    assert row is not None
    return str(row[0])


def _archive_all(cluster: Cluster) -> None:
    """Finish the WAL segment and wait until it is in the repository."""
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row is not None
        deadline = time.monotonic() + 60
        archived = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"
        while connection.execute(archived, row).fetchone() != (True,):
            if time.monotonic() > deadline:
                raise TimeoutError("the last WAL segment was not archived")
            time.sleep(0.1)
