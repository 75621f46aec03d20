"""What Prometheus and Alertmanager say: who is scraped, which rules they have, and whether they can tell somebody."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from pouw.preflight.lines import Finding, failed, human, judge, passed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.preflight.deployment import Deployment

RECORDED = (
    "job:pouw_receipts_received:rate5m",
    "job:pouw_receipts_accepted:rate5m",
    "job_detail:pouw_receipts_rejected:rate5m",
    "job:pouw_receipts_rejected:ratio5m",
    "job_scope:pouw_rate_limit_denials:rate1m",
    "job_instance:pouw_signature_verification_seconds:p99_5m",
    "job_route:pouw_http_request_seconds:p99_5m",
    "job:pouw_http_requests:rate5m",
    "job:pouw_http_errors:ratio5m",
    "job_instance:pouw_db_pool_queued:ratio5m",
)
_JOBS = ("pouw", "pouw-worker")
_FRESH_SECS = 120
_OK = 200
_PASSING = "pouw_ready"


def exposed(deployment: Deployment) -> Finding:
    """Read the node's metrics."""
    settings = deployment.settings
    host = f"[{settings.metrics_host}]" if ":" in settings.metrics_host else settings.metrics_host
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - reads it
    url = deployment.given.metrics or f"http://{host}:{settings.metrics_port}/metrics"
    token = settings.metrics_token.reveal() if settings.metrics_token is not None else ""
    answer = deployment.get(url, token)
    series = sum(line.startswith("pouw_") for line in answer.data.decode(errors="replace").splitlines())
    ready = any(line.startswith(f"{_PASSING} ") for line in answer.data.decode(errors="replace").splitlines())
    return judge(answer.status == _OK and ready, f"{url} answered {answer.status} with {series} series of pouw")


def prometheus(deployment: Deployment) -> Finding:
    """Ask Prometheus for its version."""
    return passed(f"Prometheus {deployment.prometheus('/api/v1/status/buildinfo')['version']} answers")


def scraped(deployment: Deployment) -> Finding:
    """Look whether Prometheus reaches the nodes and the background process, and since when it did."""
    targets = deployment.prometheus("/api/v1/targets?state=active")["activeTargets"]
    faults, seen = [], []
    for job in _JOBS:
        ours = [target for target in targets if target["labels"].get("job") == job]
        faults += [f"no target has the job {job}"] if not ours else []
        faults += [f"{each['scrapeUrl']} is {each['health']}: {each['lastError']}" for each in ours if not _good(each)]
        seen += [each["scrapeUrl"] for each in ours]
    return failed("; ".join(faults)) if faults else passed(f"up: {', '.join(seen)}")


def recording(deployment: Deployment) -> Finding:
    """Look for every recording rule."""
    known = {rule["name"]: rule for rule in _rules(deployment) if rule["type"] == "recording"}
    missing = [name for name in RECORDED if name not in known]
    broken = [name for name in RECORDED if name in known and known[name]["health"] != "ok"]
    if missing or broken:
        return failed(f"missing: {', '.join(missing) or 'none'}; not evaluated: {', '.join(broken) or 'none'}")
    return passed(f"{len(RECORDED)} of {len(RECORDED)} are loaded and evaluated")


def alert(name: str, severity: str, most_secs: int) -> Callable[[Deployment], Finding]:
    """Make the check of an alert: loaded, evaluated, of this severity, and raised after so many seconds at most."""

    def look(deployment: Deployment) -> Finding:
        rule = next((each for each in _rules(deployment) if each["name"] == name and each["type"] == "alerting"), None)
        if rule is None:
            return failed(f"{name} is not loaded")
        if rule["health"] != "ok":
            return failed(f"{name} is not evaluated: {rule['health']}, {rule.get('lastError', 'no error')}")
        shown = f"{name}: {rule['query']}, for {rule['duration']:.0f} s, {rule['labels'].get('severity')}"
        good = rule["labels"].get("severity") == severity and rule["duration"] <= most_secs
        if good and rule["state"] == "firing":
            return failed(f"it fires now: {shown}", "Do what docs/RUNBOOK.md says under its name.")
        return judge(good, shown)

    return look


def delivered(deployment: Deployment) -> Finding:
    """Look whether Prometheus knows the Alertmanager, and whether that has somebody to tell."""
    active = deployment.prometheus("/api/v1/alertmanagers")["activeAlertmanagers"]
    if not active:
        return failed("Prometheus has no Alertmanager")
    config = deployment.alertmanager("/api/v2/status")["config"]["original"]
    receivers = [receiver["name"] for receiver in deployment.alertmanager("/api/v2/receivers")]
    channels = sum(line.rstrip().endswith("_configs:") for line in config.splitlines())
    if not channels:
        return failed(f"none of the receivers ({', '.join(receivers)}) sends anything")
    return human(f"Prometheus sends to {active[0]['url']}; receivers: {', '.join(receivers)}")


def quiet(deployment: Deployment) -> Finding:
    """Show which alerts fired within the last half hour."""
    found = deployment.prometheus(
        "/api/v1/query?query=max%20by%20(alertname)%20(max_over_time(ALERTS%7Balertstate%3D%22firing%22%7D%5B30m%5D))"
    )["result"]
    names = sorted({each["metric"]["alertname"] for each in found})
    return failed(f"fired: {', '.join(names)}") if names else human("no alert fired within the last 30 minutes")


def _rules(deployment: Deployment) -> list[dict[str, Any]]:
    return [rule for group in deployment.prometheus("/api/v1/rules")["groups"] for rule in group["rules"]]


def _good(target: dict[str, Any]) -> bool:
    scraped_at = dt.datetime.fromisoformat(target["lastScrape"]).timestamp()
    return bool(target["health"] == "up" and time.time() - scraped_at <= _FRESH_SECS)
