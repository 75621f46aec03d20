"""Drills in which processes die: one node, and everything at once."""

from __future__ import annotations

import time

from deploy.drills.load import Load
from deploy.drills.outcome import Outcome, outcome
from deploy.drills.site import Site


def node_lost() -> Outcome:
    """Kill one of two nodes under load; clients go on with the other one, and it comes back."""
    with Site() as site:
        first, second = site.node().start(), site.node().start()
        with Load([first.url, second.url]) as load:
            lost_at = time.monotonic()
            first.kill()
            load.wait_answers(60)
            away = load.away_secs(lost_at)
            back_at = time.monotonic()
            first.start()
            started = time.monotonic() - back_at
            load.wait_answers(60)
        found = load.check(site.database_url)
    did = "One of two nodes was killed under load (kill -9 of the master and its workers)."
    return outcome("node-lost", did, away, 5, found, started_again_after=f"{started:.1f} s")


def complete_outage() -> Outcome:
    """Kill the node, PostgreSQL and Valkey at once under load, and start them again."""
    with Site() as site:
        node = site.node().start()
        servers = site.servers
        assert servers.postgres is not None
        assert servers.valkey is not None
        with Load([node.url]) as load:
            lost_at = time.monotonic()
            node.kill()
            site.kill_servers()
            servers.revive()
            up_at = time.monotonic()
            node.start()
            load.wait_answers(90)
            away = load.away_secs(lost_at)
        found = load.check(site.database_url)
    did = "The node, PostgreSQL and Valkey were killed at once under load (kill -9), and started again."
    return outcome("complete-outage", did, away, 60, found, database_back_after=f"{up_at - lost_at:.1f} s")
