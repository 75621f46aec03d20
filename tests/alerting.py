"""Debian's Prometheus and Alertmanager, started on free ports with the delivered configuration for one node."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

from pouw.local import process
from tests.ports import free_port
from tests.support import Http, wait_for
from tools import rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support import Node

ROOT = Path(__file__).parents[1]
SCALE = 60
"""A minute of the rules is a second of a test."""


@dataclass(frozen=True)
class Monitoring:
    """A running Prometheus and its Alertmanager."""

    prometheus: Http
    alertmanager: Http

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query; fail where Prometheus does not take it."""
        answer = self.prometheus.get(f"/api/v1/query?{urlencode({'query': expression})}")
        assert answer.status == 200, (expression, answer.body)
        result: list[dict[str, Any]] = answer.json["data"]["result"]
        return result

    def alerts(self) -> set[str]:
        """Return the names of the alerts that Alertmanager has and that are not resolved."""
        return {alert["labels"]["alertname"] for alert in self.alertmanager.get("/api/v2/alerts").json}


def install() -> None:
    """Install what is missing of the two Debian packages; fail where that cannot be."""
    packages = ("prometheus", "prometheus-alertmanager")
    subprocess.run([ROOT / "tools" / "debian.sh", *packages], check=True, timeout=300)


@contextmanager
def monitoring(folder: Path, node: Node, worker_port: int) -> Iterator[Monitoring]:
    """Watch a node and a background process, with rules a :data:`SCALE` faster than delivered."""
    install()
    prometheus, alertmanager = free_port(), free_port()
    rules.write(folder, SCALE)
    config = (rules.SOURCE / "prometheus.yml").read_text().replace(" 15s", " 1s").replace(" 10s", " 1s")
    for delivered, port in ((9090, node.metrics_port), (9091, worker_port), (9093, alertmanager)):
        assert f"127.0.0.1:{delivered}" in config
        config = config.replace(f"'127.0.0.1:{delivered}'", f"'127.0.0.1:{port}'")
    (folder / "prometheus.yml").write_text(config)
    (folder / "alertmanager.yml").write_text((rules.SOURCE / "alertmanager.yml").read_text())
    commands = (
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
         f"--web.listen-address=127.0.0.1:{prometheus}", "--log.level=warn"],
        ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alerts",
         f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address=", "--log.level=warn"],
    )  # fmt: skip
    running = [
        process.start(command, env={"PATH": os.environ["PATH"]}, log=folder / f"{command[0]}.log")
        for command in commands
    ]
    found = Monitoring(Http(f"http://127.0.0.1:{prometheus}"), Http(f"http://127.0.0.1:{alertmanager}"))
    try:
        wait_for(lambda: answers(found.prometheus) and answers(found.alertmanager))
        yield found
    finally:
        found.prometheus.close()
        found.alertmanager.close()
        for each in running:
            process.stop(each, signal.SIGTERM, 20)


@contextmanager
def background(node: Node) -> Iterator[int]:
    """`pouw worker` beside a node; gives the port of its metrics."""
    port = free_port()
    environ = node.environ | {"POUW_WORKER_METRICS_PORT": str(port)}
    worker = subprocess.Popen([sys.executable, "-m", "pouw", "worker"], env=environ, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(port))
        yield port
    finally:
        worker.terminate()
        worker.wait(20)


def listens(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(http: Http) -> bool:
    try:
        return http.get("/-/ready").status == 200
    except urllib3.exceptions.HTTPError:
        return False
