"""The drill for the database: the primary of a Patroni cluster lost under load."""

from __future__ import annotations

import time

import psycopg

from deploy.drills.load import Load
from deploy.drills.members import Cluster
from deploy.drills.outcome import Outcome, outcome
from deploy.drills.site import Site
from pouw.store import migrations


def primary_lost() -> Outcome:
    """Kill the primary and its Patroni under load: the synchronous standby takes over, and the old one comes back."""
    with Site(embedded=False) as site, Cluster(site.folder) as cluster:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE pouw")
        url = cluster.url("pouw")
        migrations.run(url, "up")
        node = site.node(database_url=url).start()
        with Load([node.url]) as load:
            old = cluster.primary()
            lost_at = time.monotonic()
            old.kill()
            load.wait_answers(120)
            away = load.away_secs(lost_at)
            came_back = time.monotonic()
            old.program.start()
            cluster.wait(lambda: old.role() == "replica")
            rejoined = time.monotonic() - came_back
            load.wait_answers(60)
        found = load.check(url)
        node.stop()
    did = "The primary of three PostgreSQL (Patroni, synchronous replication) was killed under load with its Patroni."
    return outcome("failover", did, away, 40, found, old_primary_a_standby_again_after=f"{rejoined:.1f} s")
