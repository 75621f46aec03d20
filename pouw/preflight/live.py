"""The running node: its health, its version, and what `pouw smoke` says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from pouw import __version__
from pouw.preflight.lines import Finding, failed, judge, passed
from pouw.store import maintenance as store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.preflight.deployment import Deployment

_SMOKE_SECS = 60


def health(deployment: Deployment) -> Finding:
    """Ask for the health of every part; a part that is away fails it, although the node takes requests without it."""
    document = deployment.document(f"{deployment.url}/health")
    parts = ", ".join(f"{name} {part['status']}" for name, part in document["components"].items())
    return judge(document["status"] == "ok" and document["ready"] is True, f"200, {document['status']}: {parts}")


def deployed(deployment: Deployment) -> Finding:
    """Compare the node's version with this one."""
    version = str(deployment.node()["version"])
    return judge(version == __version__, f"the node is {version}, this command {__version__}")


def no_maintenance(deployment: Deployment) -> Finding:
    """Look whether a maintenance is announced."""
    announced = store.read(deployment.database)
    if announced is None or (announced.ends_at is not None and announced.ends_at.timestamp() <= deployment.clock()):
        return passed("no maintenance is announced")
    return failed(f"announced by {announced.by}: {announced.reason}")


def smoke(deployment: Deployment) -> Finding:
    """Let `pouw smoke` try the node."""
    checks = _smoke(deployment)
    bad = [f"{each['check']}: {each['saw']}" for each in checks.values() if each["status"] == "failed"]
    good = [name for name, each in checks.items() if each["status"] == "passed"]
    return failed("; ".join(bad)) if bad else passed(f"passed: {', '.join(good)}")


def smoked(*names: str) -> Callable[[Deployment], Finding]:
    """Make the check of some of what `pouw smoke` tries."""

    def look(deployment: Deployment) -> Finding:
        checks = _smoke(deployment)
        shown = "; ".join(f"{name} {checks[name]['status']}: {checks[name]['saw']}" for name in names)
        return judge(all(checks[name]["status"] == "passed" for name in names), shown)

    return look


def _smoke(deployment: Deployment) -> dict[str, dict[str, Any]]:
    url = deployment.url

    def run() -> dict[str, dict[str, Any]]:
        ca = {} if deployment.given.ca is None else {"SSL_CERT_FILE": str(deployment.given.ca)}
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", "pouw", "smoke", url, "--json"],
            env=os.environ | ca,
            capture_output=True,
            check=False,
            timeout=_SMOKE_SECS,
        )
        return {each["check"]: each for each in json.loads(done.stdout)["checks"]}

    found: dict[str, dict[str, Any]] = deployment.once("smoke", run)
    return found
