"""Drills in which a store loses what it knew: the limiter's counters, and the nonces."""

from __future__ import annotations

import time

import psycopg

from deploy.drills.load import Load
from deploy.drills.outcome import Outcome, outcome
from deploy.drills.site import Site


def limiter_lost() -> Outcome:
    """Kill Valkey under load with all it knew; quotas are counted by each worker until it is back."""
    with Site() as site:
        node = site.node().start()
        with Load([node.url]) as load:
            lost_at = time.monotonic()
            site.kill_servers(postgres=False)
            load.wait_answers(30)
            without = load.away_secs(lost_at)
            site.servers.revive()
            load.wait_answers(30)
            away = load.away_secs(lost_at)
        found = load.check(site.database_url)
    did = "Valkey was killed under load, and started again empty."
    return outcome("limiter-lost", did, away, 5, found, longest_pause_without_it=f"{without:.2f} s")


def nonces_lost() -> Outcome:
    """Empty the table of nonces under load, and put them back from the receipts behind a maintenance."""
    with Site() as site:
        node = site.node().start()
        with Load([node.url]) as load:
            lost_at = time.monotonic()
            with psycopg.connect(site.database_url, autocommit=True) as connection:
                [count] = connection.execute("SELECT count(*) FROM nonces").fetchone() or (0,)
                connection.execute("TRUNCATE nonces")
            node.pouw("maintenance", "on", "--reason", "the nonces are being put back")
            time.sleep(2)  # all nodes know it, and what was under way is over
            said = node.pouw("nonces", "rebuild", "--reason", "drill")
            node.pouw("maintenance", "off")
            load.wait_answers(60)
            away = load.away_secs(lost_at)
        found = load.check(site.database_url)
    did = f"The table of nonces was emptied under load ({count} rows), and put back from the receipts in a maintenance."
    return outcome("nonces-lost", did, away, 30, found, said=said.strip())
