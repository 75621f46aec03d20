"""What the dashboards show: each panel with its queries, in the order in which an operator looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["stat", "timeseries", "heatmap", "bargauge", "table"]

NODE = 'job="pouw", instance=~"$instance"'
RATE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One panel: its queries with their legends, Grafana's name of the unit, and a sentence that explains it."""

    title: str
    kind: Kind
    unit: str
    queries: tuple[tuple[str, str], ...]
    text: str = ""
    red_above: float | None = None
    red_below: float | None = None


@dataclass(frozen=True)
class Board:
    """One dashboard, whose name is its file's and a part of its address."""

    name: str
    title: str
    panels: tuple[Panel, ...]


def one(title: str, kind: Kind, unit: str, query: str, legend: str = "", text: str = "") -> Panel:
    """Return a panel with one query."""
    return Panel(title, kind, unit, ((query, legend),), text)


def rate(name: str, by: str = "") -> str:
    """Return a counter's rate a second over the chosen nodes."""
    return f"sum{f' by ({by})' if by else ''} (rate({name}{{{NODE}}}[{RATE}]))"


def quantile(share: float, name: str, by: str = "", where: str = "") -> str:
    """Return a quantile of a histogram over the chosen nodes."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{{{NODE}{where}}}[{RATE}])))"


def quantiles(name: str, where: str = "") -> tuple[tuple[str, str], ...]:
    """Return the three quantiles that the targets speak of."""
    return tuple((quantile(share, name, where=where), f"P{share * 100:g}") for share in (0.5, 0.95, 0.99))


HTTP = "pouw_http_request_duration_seconds"
SUBMIT = ', route="/api/v1/pouw/submit"'
CHALLENGE = ', route="/api/v1/pouw/challenge"'

OVERVIEW = Board(
    "pouw-overview",
    "pouw: overview",
    (
        Panel("Ready", "stat", "none", ((f"min(pouw_ready{{{NODE}}})", ""),), "1: every worker can work.", red_below=1),
        Panel("Parts", "stat", "none", ((f"min by (part) (pouw_part_up{{{NODE}}})", "{{part}}"),), red_below=1),
        Panel(
            "Broken promises", "stat", "none", (("max(sum by (instance) (pouw_must_be_zero_total))", ""),),
            "0, always.", red_above=1,
        ),
        one("Workers", "stat", "none", f"sum(pouw_workers{{{NODE}}})"),
        Panel(
            "Alerts", "table", "none",
            (('count by (alertname, severity) (ALERTS{alertstate="firing", alertname=~"Pouw.*"}) or vector(0)', ""),),
        ),
        one("Receipts accepted", "timeseries", "rps", rate("pouw_receipts_accepted_total"), "accepted"),
        one("Receipts rejected", "timeseries", "rps", rate("pouw_receipts_rejected_total", "reason"), "{{reason}}"),
        Panel("Batch latency", "timeseries", "s", quantiles(HTTP, SUBMIT)),
        one("Requests in flight", "timeseries", "none", f"sum by (instance) (pouw_inflight{{{NODE}}})", "{{instance}}"),
        one("Epoch close lag", "stat", "s", "max(pouw_epoch_close_lag_seconds)"),
        one("Open disputes", "stat", "none", "max(pouw_disputes_open)"),
        one("Age of the last backup", "stat", "s", "time() - max(pouw_backup_finished_timestamp_seconds)"),
        Panel(
            "Certificate ends in", "stat", "s",
            ((f"min(pouw_tls_certificate_expiry_timestamp_seconds{{{NODE}}}) - time()", ""),), "Empty without TLS.",
        ),
        one(
            "Versions", "table", "none",
            f"count by (version, python, pynacl, gunicorn, psycopg) (pouw_build_info{{{NODE}}})",
        ),
    ),
)  # fmt: skip

THROUGHPUT = Board(
    "pouw-throughput",
    "pouw: throughput",
    (
        Panel(
            "Receipts", "timeseries", "rps",
            ((rate("pouw_receipts_received_total"), "received"), (rate("pouw_receipts_accepted_total"), "accepted")),
        ),
        one("Batches", "timeseries", "rps", rate("pouw_batch_size_count"), "batches"),
        Panel("Receipts in a batch", "timeseries", "none", quantiles("pouw_batch_size")),
        one("Requests by route", "timeseries", "reqps", rate(f"{HTTP}_count", "route"), "{{route}}"),
        Panel(
            "Challenges", "timeseries", "rps",
            ((rate("pouw_challenges_issued_total"), "issued"),
             (f"max(rate(pouw_challenges_used_total[{RATE}]))", "used"),
             (f"max(rate(pouw_challenges_expired_total[{RATE}]))", "never used")),
            "Used and never used are counted a minute after a challenge's end.",
        ),
        Panel("Age of challenges", "timeseries", "s", quantiles("pouw_challenge_age_at_submit_seconds")),
        one("Receipts by node", "timeseries", "rps", rate("pouw_receipts_accepted_total", "instance"), "{{instance}}"),
        one("Overload", "timeseries", "reqps", rate("pouw_overload_denials_total", "what"), "{{what}}"),
    ),
)  # fmt: skip

LATENCY = Board(
    "pouw-latency",
    "pouw: latency",
    (
        one(
            "Batches", "heatmap", "s", f"sum by (le) (increase({HTTP}_bucket{{{NODE}{SUBMIT}}}[{RATE}]))", "{{le}}",
            "How many batches took how long.",
        ),
        one(
            "Challenges", "heatmap", "s", f"sum by (le) (increase({HTTP}_bucket{{{NODE}{CHALLENGE}}}[{RATE}]))",
            "{{le}}",
        ),
        Panel("Batches", "timeseries", "s", quantiles(HTTP, SUBMIT)),
        Panel("Challenges", "timeseries", "s", quantiles(HTTP, CHALLENGE)),
        one("Stages of a batch, P99", "timeseries", "s",
            quantile(0.99, "pouw_submit_stage_duration_seconds", "stage"), "{{stage}}"),
        one("Time in each stage", "timeseries", "percentunit",
            rate("pouw_submit_stage_duration_seconds_sum", "stage"), "{{stage}}", "Seconds of each second."),
        Panel("Verification of a batch", "timeseries", "s", quantiles("pouw_signature_verification_duration_seconds")),
        one("Routes, P99", "timeseries", "s", quantile(0.99, HTTP, "route"), "{{route}}"),
    ),
)  # fmt: skip

ERRORS = Board(
    "pouw-errors",
    "pouw: errors and rejections",
    (
        Panel(
            "Rejected", "stat", "percentunit", (('job:pouw_receipts_rejected:ratio5m{job="pouw"}', ""),),
            "Of the receipts of five minutes.", red_above=0.1,
        ),
        Panel("Answered with 5xx", "stat", "percentunit", (('job:pouw_http_errors:ratio5m{job="pouw"}', ""),),
              red_above=0.01),
        one("Rejections", "timeseries", "rps", rate("pouw_receipts_rejected_total", "detail"), "{{detail}}"),
        one("Rejections today", "bargauge", "none",
            f"sum by (reason, detail) (increase(pouw_receipts_rejected_total{{{NODE}}}[1d]))", "{{reason}} {{detail}}"),
        one("Answers by status", "timeseries", "reqps", rate(f"{HTTP}_count", "status"), "{{status}}"),
        one("Refused by quotas", "timeseries", "reqps", rate("pouw_rate_limit_denials_total", "scope"), "{{scope}}"),
        one("Failed for the database", "timeseries", "reqps", rate("pouw_db_errors_total", "kind"), "{{kind}}"),
        one("Refused for overload", "timeseries", "reqps", rate("pouw_overload_denials_total", "what"), "{{what}}"),
        one("Failed background jobs", "timeseries", "none",
            'sum by (name) (increase(pouw_job_runs_total{outcome="failed"}[1h])) or vector(0)', "{{name}}"),
        one("Log lines left out", "timeseries", "rps", rate("pouw_log_lines_left_out_total", "event"), "{{event}}"),
    ),
)  # fmt: skip

MONEY = Board(
    "pouw-money",
    "pouw: disputes and rewards",
    (
        one("Open disputes", "stat", "none", "max(pouw_disputes_open)"),
        one("The oldest waits since", "stat", "s", "max(pouw_disputes_oldest_age_seconds)"),
        one("Disputes filed", "timeseries", "none", f"sum(increase(pouw_disputes_logged_total{{{NODE}}}[1h]))",
            "an hour"),
        one("Broken promises", "table", "none", "max by (promise) (pouw_must_be_zero_total)"),
        one("Atoms of closed epochs", "timeseries", "none", "max by (state) (pouw_rewards_atoms_total)", "{{state}}"),
        one("Atoms that are owed", "timeseries", "none", "max by (state) (pouw_payouts_atoms)", "{{state}}"),
        one("Epoch close lag", "timeseries", "s", "max(pouw_epoch_close_lag_seconds)", "lag"),
        one("Jobs ended before", "timeseries", "s", "time() - max by (name) (pouw_job_finished_timestamp_seconds)",
            "{{name}}"),
        one("Runs of jobs", "timeseries", "none", f"sum by (name, outcome) (rate(pouw_job_runs_total[{RATE}]))",
            "{{name}} {{outcome}}"),
        one("Time of a run, P95", "timeseries", "s",
            f"histogram_quantile(0.95, sum by (le, name) (rate(pouw_job_duration_seconds_bucket[{RATE}])))",
            "{{name}}"),
    ),
)  # fmt: skip

STORES = Board(
    "pouw-stores",
    "pouw: database and Redis",
    (
        Panel("Parts", "stat", "none",
              ((f"min by (part, instance) (pouw_part_up{{{NODE}}})", "{{part}} {{instance}}"),),
              red_below=1),
        one("Connections of the pools", "timeseries", "none", f"sum by (state) (pouw_db_pool_connections{{{NODE}}})",
            "{{state}}"),
        one("Waiting for a connection", "timeseries", "none", f"sum by (instance) (pouw_db_pool_waiting{{{NODE}}})",
            "{{instance}}"),
        Panel("Connections asked for", "timeseries", "rps",
              ((rate("pouw_db_pool_requests_total"), "asked for"), (rate("pouw_db_pool_queued_total"), "waited for"),
               (rate("pouw_db_pool_timeouts_total"), "in vain"), (rate("pouw_db_pool_lost_total"), "lost"))),
        one("Time waited", "timeseries", "percentunit", rate("pouw_db_pool_wait_seconds_total"), "seconds a second"),
        Panel("Look up and commit, P99", "timeseries", "s",
              ((quantile(0.99, "pouw_submit_stage_duration_seconds", "stage", ', stage=~"look_up|commit"'),
                "{{stage}}"),)),
        one("Size of the database", "timeseries", "bytes", "max(pouw_db_size_bytes)", "size"),
        one("Clock of the database ahead of the node's", "timeseries", "s",
            f"max by (instance) (pouw_clock_offset_seconds{{{NODE}}})",
            "{{instance}}"),
        one("Free disk", "timeseries", "percentunit",
            f'min by (instance, place) (pouw_disk_bytes{{{NODE}, state="free"}}'
            f' / ignoring (state) pouw_disk_bytes{{{NODE}, state="size"}})', "{{place}} {{instance}}"),
        one("Quota checks without Redis", "timeseries", "rps", rate("pouw_rate_limit_backend_errors_total"), "errors"),
    ),
)  # fmt: skip

BOARDS = (OVERVIEW, THROUGHPUT, LATENCY, ERRORS, MONEY, STORES)
