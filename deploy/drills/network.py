"""The drill for the network: a node that reaches neither its clients nor its database any more."""

from __future__ import annotations

import secrets
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deploy.drills.cluster import Cluster
from deploy.drills.load import Load
from deploy.drills.outcome import Outcome, outcome
from deploy.drills.site import Site
from pouw.store import migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

_CUT_SECS = 8.0


def partition() -> Outcome:
    """Cut one of two nodes off, in a network namespace of its own, under load; heal it later."""
    with Site(embedded=False) as site, _link() as link:
        cluster = Cluster(site.folder, listen=link.ours, network=f"{link.theirs}/32")
        try:
            cluster.create()
            migrations.run(cluster.url, "up")
            near = site.node(database_url=cluster.url).start()
            far = site.node(
                wrapper=["ip", "netns", "exec", link.name], address=link.theirs, database_url=cluster.tcp_url,
                host=link.theirs,
            ).start()  # fmt: skip
            with Load([far.url, near.url]) as load:
                cut_at = time.monotonic()
                link.cut()
                load.wait_answers(60)
                time.sleep(_CUT_SECS)
                away = load.away_secs(cut_at)
                healed_at = time.monotonic()
                link.heal()
                far.wait_ready()
                ready = time.monotonic() - healed_at
                load.wait_answers(30)
            found = load.check(cluster.url)
            for node in (near, far):
                node.stop()
        finally:
            cluster.stop()
    did = f"One of two nodes was cut off from its clients and the database for {_CUT_SECS:g} s and more, under load."
    return outcome("partition", did, away, 15, found, ready_again_after_healing=f"{ready:.1f} s")


class _Link:
    """A network namespace that is reached by one link of two addresses, as if it were another machine."""

    def __init__(self) -> None:
        self.name = f"pouw-{secrets.token_hex(3)}"
        third, fourth = secrets.randbelow(256), 4 * secrets.randbelow(64)
        self.ours, self.theirs = f"10.213.{third}.{fourth + 1}", f"10.213.{third}.{fourth + 2}"
        self._device = self.name

    def make(self) -> None:
        """Make it."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._device, "type", "veth", "peer", "name", "far", "netns", self.name)
        _ip("addr", "add", f"{self.ours}/30", "dev", self._device)
        _ip("link", "set", self._device, "up")
        for command in (f"addr add {self.theirs}/30 dev far", "link set far up", "link set lo up"):
            _ip("-n", self.name, *command.split())

    def cut(self) -> None:
        """Let nothing through any more."""
        _ip("-n", self.name, "link", "set", "far", "down")

    def heal(self) -> None:
        """Let everything through again."""
        _ip("-n", self.name, "link", "set", "far", "up")

    def remove(self) -> None:
        """Remove it, and the link with it."""
        _ip("netns", "delete", self.name)


@contextmanager
def _link() -> Iterator[_Link]:
    link = _Link()
    link.make()
    try:
        yield link
    finally:
        link.remove()


def _ip(*arguments: str) -> None:
    subprocess.run(["/usr/sbin/ip", *arguments], check=True, capture_output=True, timeout=30)
