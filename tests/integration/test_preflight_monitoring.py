"""``pouw preflight`` and the real Prometheus and Alertmanager: what they have, and what each lack looks like."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pouw.local import process
from pouw.preflight.lines import Outcome
from tests.alerting import answers, background, install, monitoring
from tests.ports import free_port
from tests.preflights import ITEMS, TOKEN, given, look, start
from tests.support import Http, wait_for
from tools import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pouw.local.servers import LocalServers
    from tests.integration.test_tls import TlsNode

pytestmark = pytest.mark.debian
RULES = tuple(name for name in ITEMS if name.startswith("alert.") and name != "alert.delivered")
TARGETS = ("metrics.scraped", "deploy.metrics")
SEEN = ("software.prometheus", *TARGETS, "metrics.recorded", *RULES)


@pytest.fixture(scope="module")
def node(servers: LocalServers, new_database: Callable[[], str], open_tmp: Path) -> Iterator[TlsNode]:
    folder = open_tmp / "preflight-monitoring"
    folder.mkdir()
    started = start(servers, new_database(), folder)
    yield started
    started.stop()


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the delivered configuration bring the token, as its comments say."""
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "token").write_text(TOKEN)
    for file in rules.SOURCE.glob("*.yml"):
        text = file.read_text().replace("# authorization: {credentials_file: /etc/prometheus/pouw-token}",
                                        f"authorization: {{credentials_file: {tmp_path}/token}}")  # fmt: skip
        (source / file.name).write_text(text)
    monkeypatch.setattr(rules, "SOURCE", source)


@pytest.mark.usefixtures("token")
def test_what_is_scraped_recorded_and_alerted_about_passes(node: TlsNode, tmp_path: Path) -> None:
    """Told to a human is who hears the alerts; then the background process ends, and its target with it."""
    folder = tmp_path / "monitoring"
    folder.mkdir()
    with background(node) as port, monitoring(folder, node, port) as found:
        wait_for(lambda: len(found.query("up == 1")) == 2)
        command = ("--prometheus", found.prometheus.base, "--alertmanager", found.alertmanager.base, "--json")

        def outcomes() -> dict[str, tuple[str, str]]:
            done = subprocess.run(
                [sys.executable, "-m", "pouw", "preflight", *command],
                env=node.environ, capture_output=True, text=True, check=False, timeout=100,
            )  # fmt: skip
            return {line["id"]: (line["outcome"], line["evidence"]) for line in json.loads(done.stdout)["lines"]}

        wait_for(lambda: all(outcomes()[name][0] == "passed" for name in SEEN), timeout=60)
        seen = outcomes()
        assert "PouwHighRejectionRate: job:pouw_receipts_rejected:ratio5m > 0.1, for 5 s" in seen["alert.rejections"][1]
        assert seen["alert.delivered"][0] == "for a human"
        assert "receivers: daytime, on-call" in seen["alert.delivered"][1]
        assert seen["deploy.watch"][0] in ("for a human", "failed")
        os.kill(find_worker(node), signal.SIGTERM)
        wait_for(lambda: outcomes()["metrics.scraped"][0] == "failed", timeout=30)
        assert f"http://127.0.0.1:{port}/metrics is down" in outcomes()["metrics.scraped"][1]


def find_worker(node: TlsNode) -> int:
    """Return the process id of the `pouw worker` that this process started for a node."""
    import psutil

    [found] = [each for each in psutil.Process().children() if each.cmdline()[-1:] == ["worker"]
               and each.environ().get("POUW_PORT") == str(node.port)]  # fmt: skip
    return found.pid


@contextmanager
def bare_prometheus(folder: Path, config: str) -> Iterator[str]:
    """Run a Prometheus with a configuration of the test's; gives its URL."""
    install()
    port = free_port()
    (folder / "prometheus.yml").write_text(config)
    running = process.start(
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
        env={"PATH": os.environ["PATH"]}, log=folder / "log",
    )  # fmt: skip
    http = Http(f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: answers(http))
        yield http.base
    finally:
        http.close()
        process.stop(running, signal.SIGTERM, 20)


def test_a_prometheus_that_knows_nothing_of_the_node_fails(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bare_prometheus(tmp_path, "global: {scrape_interval: 1s}\n") as url:
        told = given(node, prometheus=url, alertmanager=f"http://127.0.0.1:{free_port()}")
        found = look(monkeypatch, node, *SEEN, "alert.delivered", told=told)
    assert found.pop("software.prometheus").outcome is Outcome.PASSED
    assert {line.outcome for line in found.values()} == {Outcome.FAILED}
    assert found["metrics.scraped"].evidence == "no target has the job pouw; no target has the job pouw-worker"
    assert found["alert.health"].evidence == "PouwUnhealthy is not loaded"
    assert found["alert.delivered"].evidence == "Prometheus has no Alertmanager"
    assert "missing: job:pouw_receipts_received:rate5m" in found["metrics.recorded"].evidence


def test_a_target_without_the_token_and_an_alert_that_is_another_fail(
    node: TlsNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = (rules.SOURCE / "alerts.yml").read_text().replace("severity: critical", "severity: warning")
    (tmp_path / "alerts.yml").write_text(alerts.replace("for: 5m", "for: 50m").replace("interval: 15s", "interval: 1s"))
    config = f"""
global: {{scrape_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: pouw
    static_configs: [{{targets: ['127.0.0.1:{node.metrics_port}']}}]
"""
    with bare_prometheus(tmp_path, config) as url:
        http = Http(url)
        wait_for(lambda: b'"health":"down"' in http.get("/api/v1/targets").body)
        wait_for(lambda: b'"health":"unknown"' not in http.get("/api/v1/rules").body)
        http.close()
        found = look(monkeypatch, node, *TARGETS, *RULES, told=given(node, prometheus=url))
    quick = {name for name, line in found.items() if line.outcome is Outcome.PASSED}
    assert quick == {"alert.quotas"}
    assert "is down: server returned HTTP status 401 Unauthorized" in found["metrics.scraped"].evidence
    assert "for 3000 s, warning" in found["alert.rejections"].evidence
