"""The alerts: promtool's own checks and tests, and each of the six conditions caused before the real programs."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from pouw.local.servers import LocalServers
from pouw.store import migrations
from tests.alerting import ROOT, background, install, monitoring
from tests.support import API, Http, Identity, Node, batch_body, node_key, paused, wait_for
from tools import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.alerting import Monitoring
    from tests.conftest import StartNode

pytestmark = pytest.mark.debian

LARGE = 6_000
LIMIT = 30


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    install()


def promtool(*arguments: str, given: bytes = b"") -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=rules.SOURCE, input=given, capture_output=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return (done.stdout + done.stderr).decode()


def names() -> list[str]:
    return re.findall(r"^ +- alert: (\w+)$", (rules.SOURCE / "alerts.yml").read_text(), re.MULTILINE)


def test_promtool_takes_the_rules_the_configuration_and_their_tests() -> None:
    assert f"{len(names())} rules found" in promtool("check", "rules", *rules.FILES)
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", "tests.yml")
    done = subprocess.run(["amtool", "check-config", "alertmanager.yml"], cwd=rules.SOURCE, check=False, timeout=30)
    assert done.returncode == 0


def test_every_alert_is_tested_for_firing_and_for_staying_quiet() -> None:
    tests = re.findall(
        r"^  - name: (\w+ (?:fires|stays quiet))$", (rules.SOURCE / "tests.yml").read_text(), re.MULTILINE
    )
    assert set(tests) == {f"{name} {what}" for name in names() for what in ("fires", "stays quiet")}


def test_every_alert_says_what_how_bad_and_where_to_read_on() -> None:
    alerts = (rules.SOURCE / "alerts.yml").read_text().split("- alert: ")[1:]
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / "RUNBOOK.md").read_text(), re.MULTILINE)
    for alert in alerts:
        name = alert.split("\n", 1)[0]
        assert re.search(r"severity: (warning|critical)", alert), name
        assert re.search(r"^ +summary: \S", alert, re.MULTILINE), name
        assert re.search(r"^ +description: \S", alert, re.MULTILINE), name
        assert f"runbook_url: docs/RUNBOOK.md#{name.lower()}\n" in alert, name
        assert name in headings


def test_the_metrics_of_a_node_and_of_its_background_process_are_well_formed(
    start_node: StartNode, new_database: Callable[[], str], client: Identity
) -> None:
    node = start_node(new_database(), workers=2)
    token = node.http.challenge()
    node.http.accepted(client.batch([*client.items(token, 3), client.item(token, bytes_verified=1)]))
    with background(node) as port:
        for each in (node.metrics_port, port):
            http = Http(f"http://127.0.0.1:{each}")
            said = promtool("check", "metrics", given=http.get("/metrics").body)
            http.close()
            assert said.strip() == ""
    node.stop()


def test_shortened_rules_differ_in_their_times_only(tmp_path: Path) -> None:
    for made in rules.write(tmp_path, 60):
        source, short = (rules.SOURCE / made.name).read_text(), made.read_text()
        assert short != source
        times = r"\[\d+[smhd]\]|(?<=for: )\d+[smhd]|(?<=interval: )\d+[smhd]"
        assert re.sub(times, "T", short) == re.sub(times, "T", source)
    promtool("check", "rules", *(str(tmp_path / name) for name in rules.FILES))


class Traffic:
    """Batches and requests for challenges, a few every second, as a test wishes them at the moment."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._client = Identity()
        self._ended = threading.Event()
        self.good, self.bad, self.flood = 4, 0, 0
        self.slow: bytes | None = None
        self.thread = threading.Thread(target=self._run)

    def large(self) -> bytes:
        """Return a batch without a nonce, that takes long to verify however often it comes."""
        token = self._node.http.challenge()
        return batch_body(self._client.did, self._client.items(token, LARGE))

    def _run(self) -> None:
        """Send what is wished, until :meth:`end`; a node that is away is what some tests are about."""
        http = Http(self._node.http.base)
        while not self._ended.wait(0.25):
            try:
                self._send(http)
            except (AssertionError, urllib3.exceptions.HTTPError):
                continue
        http.close()

    def _send(self, http: Http) -> None:
        if self.slow is not None:
            http.submit(self.slow)
            return
        token = http.challenge()
        bad = [self._client.item(token, bytes_verified=1) for _ in range(self.bad)]
        http.submit(self._client.batch([*self._client.items(token, self.good), *bad]))
        for _ in range(self.flood):
            http.request("GET", f"{API}/challenge", X_Forwarded_For="192.0.2.1")

    def end(self) -> None:
        self._ended.set()
        self.thread.join()


@pytest.fixture(scope="module")
def watched(
    open_tmp: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalServers, Node, Monitoring, Traffic]]:
    """A node with traffic under the eyes of Prometheus, with servers that a test may stop."""
    with LocalServers(open_tmp / "alert-servers") as servers:
        assert servers.postgres is not None
        assert servers.valkey is not None
        migrations.run(servers.postgres.url(), "up")
        environ = {
            "POUW_DATABASE_URL": servers.postgres.url(),
            "POUW_REDIS_URL": servers.valkey.url,
            "POUW_NODE_SECRET_KEY": node_key(),
            "POUW_WORKERS": "1",
            "POUW_VERIFY_THREADS": "1",
            "POUW_BATCH_SIZE_MAX": str(LARGE),
            "POUW_VERIFY_ENGINE": "libsodium",  # the slower one, so that a large batch is slow
            "POUW_RATE_LIMIT_IP": str(LIMIT),
            "POUW_RATE_LIMIT_DID": "1000000",
            "POUW_TRUSTED_PROXIES": "127.0.0.1",
            "POUW_DB_TIMEOUT_SECS": "1",
        }
        node = Node(open_tmp / "alert-node.log", environ).start()
        set_quota(node)
        traffic = Traffic(node)
        with background(node) as port, monitoring(tmp_path_factory.mktemp("monitoring"), node, port) as found:
            traffic.thread.start()
            try:
                wait_for(lambda: found.query("job:pouw_receipts_accepted:rate5m > 0"))
                yield servers, node, found, traffic
            finally:
                traffic.end()
        node.stop()


def set_quota(node: Node) -> None:
    """Let the traffic itself through: it comes from this machine."""
    command = [sys.executable, "-m", "pouw", "quota", "set", "127.0.0.1", "--per-minute", "1000000"]
    subprocess.run([*command, "--reason", "test", "--for", "1d"], env=node.environ, check=True, timeout=60)


@contextmanager
def condition(name: str, servers: LocalServers, node: Node, traffic: Traffic) -> Iterator[None]:
    """Cause one of the six conditions in the block, and end it."""
    assert servers.postgres is not None
    if name == "PouwDatabaseLost":
        servers.postgres.stop()
        yield
        servers.postgres.start()
    elif name == "PouwUnhealthy":
        with paused(node.master.pid):
            yield
    else:
        before = traffic.good, traffic.bad, traffic.flood, traffic.slow
        changes: dict[str, Any] = {
            "PouwHighRejectionRate": {"bad": 1},
            "PouwVeryHighRejectionRate": {"good": 1, "bad": 5},
            "PouwRateLimitStorm": {"flood": 20},
            "PouwSignatureVerificationSlow": {"slow": traffic.large()},
        }
        vars(traffic).update(changes[name])
        yield
        traffic.good, traffic.bad, traffic.flood, traffic.slow = before


@pytest.mark.parametrize(
    "name",
    [
        "PouwHighRejectionRate",
        "PouwVeryHighRejectionRate",
        "PouwRateLimitStorm",
        "PouwSignatureVerificationSlow",
        "PouwUnhealthy",
        "PouwDatabaseLost",
    ],
)
def test_each_condition_of_the_checklist_raises_its_alert_which_goes_with_it(
    watched: tuple[LocalServers, Node, Monitoring, Traffic], name: str
) -> None:
    servers, node, found, traffic = watched
    wait_for(lambda: name not in found.alerts(), timeout=60)
    with condition(name, servers, node, traffic):
        wait_for(lambda: name in found.alerts(), timeout=60, pause=0.2)
    wait_for(lambda: name not in found.alerts(), timeout=60, pause=0.2)
