"""Every Prometheus object of the node. No label ever holds a DID, an address or a nonce.

Gauges are of the ``live`` modes: what a worker said of itself goes with it, while what it counted stays. A gauge whose
name ends with ``_counted`` holds a count out of the database, which every worker knows; it is shown once, as the
counter without that ending (see :mod:`pouw.exposition`).
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import values as values_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class _ProcessId:
    """This process's id, asked for once after each fork: prometheus_client wants it for every value that it writes."""

    def __init__(self) -> None:
        self._ask()
        os.register_at_fork(after_in_child=self._ask)

    def _ask(self) -> None:
        self._id = os.getpid()

    def __call__(self) -> int:
        return self._id


if values_of.ValueClass is not values_of.MutexValue:  # several processes share what they count
    values_of.ValueClass = values_of.MultiProcessValue(_ProcessId())  # type: ignore[no-untyped-call]

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""The methods that are labels; any other is ``other``."""

JOBS = CollectorRegistry()
"""What the background process shows, beside its own memory and processor time."""

PROMISES = (
    "accepted_receipt_found",
    "credited_once",
    "batch_complete",
    "epoch_sums",
    "payout_sums",
    "epoch_chain",
    "budget_kept",
)
"""What may never be broken; ``docs/monitoring.md`` says how each is looked at."""

RECEIPTS_RECEIVED = Counter("pouw_receipts_received", "Receipts in well-formed batches.")
RECEIPTS_ACCEPTED = Counter("pouw_receipts_accepted", "Receipts committed and reported as accepted.")
RECEIPTS_REJECTED = Counter(
    "pouw_receipts_rejected",
    "Receipts refused, by the labels of pouw.protocol.reasons.",
    ["reason", "detail"],
)
BATCH_SIZE = Histogram("pouw_batch_size", "Receipts in a batch.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000))
CHALLENGES_ISSUED = Counter("pouw_challenges_issued", "Challenges stored and handed out.")
CHALLENGE_AGE = Histogram(
    "pouw_challenge_age_at_submit_seconds",
    "Age of each challenge that a batch names, when the batch comes.",
    buckets=(1, 5, 15, 30, 60, 120, 240, 300, 600, 3600),
)
SIGNATURE_VERIFICATION = Histogram(
    "pouw_signature_verification_duration_seconds",
    "Time to verify one batch's signatures, waiting for a thread included.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
VERIFY_ENGINE = Gauge(
    "pouw_verify_engine_info",
    "1 for the engine that verifies signatures, and the CPU path that it takes.",
    ["engine", "path"],
    multiprocess_mode="livemax",
)
VERIFY_DIFFERENCES = Counter("pouw_verify_differences", "Signatures about which two engines disagreed. Has to stay 0.")
SUBMIT_STAGE = Histogram(
    "pouw_submit_stage_duration_seconds",
    "Time of one stage of a batch: decode, look_up, verify, commit.",
    ["stage"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
HTTP_DURATION = Histogram(
    "pouw_http_request_duration_seconds",
    "Time from a request's head to its answer, by the route's pattern.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
INFLIGHT = Gauge("pouw_inflight", "Requests that are being answered.", multiprocess_mode="livesum")
RATE_LIMIT_DENIALS = Counter("pouw_rate_limit_denials", "Requests refused by a quota: IP or DID.", ["scope"])
RATE_LIMIT_BACKEND_ERRORS = Counter(
    "pouw_rate_limit_backend_errors", "Quota checks that Redis did not answer and local quotas took over."
)
OVERLOADS = Counter("pouw_overload_denials", "Requests refused at once for want of memory or of a slot.", ["what"])
MAINTENANCE_DENIALS = Counter(
    "pouw_maintenance_denials", "Challenges and batches that were not taken during a maintenance."
)
DISPUTES_LOGGED = Counter("pouw_disputes_logged", "Disputes that were filed.")
DB_ERRORS = Counter("pouw_db_errors", "Requests that failed for the database: unavailable or refused.", ["kind"])

DB_POOL = Gauge(
    "pouw_db_pool_connections",
    "Connections of the workers' pools: the most there may be, open, and idle.",
    ["state"],
    multiprocess_mode="livesum",
)
DB_POOL_WAITING = Gauge(
    "pouw_db_pool_waiting", "Requests that wait for a database connection.", multiprocess_mode="livesum"
)
DB_POOL_REQUESTS = Counter("pouw_db_pool_requests", "Connections that were asked for.")
DB_POOL_QUEUED = Counter("pouw_db_pool_queued", "Connections that were asked for and had to be waited for.")
DB_POOL_WAIT = Counter("pouw_db_pool_wait_seconds", "Time that was waited for connections.")
DB_POOL_TIMEOUTS = Counter("pouw_db_pool_timeouts", "Connections that were waited for in vain.")
DB_POOL_LOST = Counter("pouw_db_pool_lost", "Connections that were lost, or could not be made.")

WORKERS = Gauge("pouw_workers", "Workers that serve requests.", multiprocess_mode="livesum")
READY = Gauge("pouw_ready", "Whether every worker can do its work.", multiprocess_mode="livemin")
PART_UP = Gauge(
    "pouw_part_up",
    "Whether a part answers every worker: database, keys, redis, standby.",
    ["part"],
    multiprocess_mode="livemin",
)
WATCHED_AT = Gauge(
    "pouw_watch_timestamp_seconds",
    "When the worker that looked longest ago last looked at its parts.",
    multiprocess_mode="livemin",
)
CLOCK_OFFSET = Gauge(
    "pouw_clock_offset_seconds",
    "How far the database's clock is ahead of the node's.",
    multiprocess_mode="livemostrecent",
)
CERTIFICATE_EXPIRES = Gauge(
    "pouw_tls_certificate_expiry_timestamp_seconds",
    "When the certificate that is served ends; absent without TLS, 0 where it cannot be read.",
    multiprocess_mode="livemostrecent",
)
DISK = Gauge(
    "pouw_disk_bytes",
    "Room of the file systems that hold the node's data, its archive and its temporary files.",
    ["place", "state"],
    multiprocess_mode="livemostrecent",
)
BUILD_INFO = Gauge(
    "pouw_build_info",
    "1, with the versions of the node and of what it is made of as labels.",
    ["version", "python", "pynacl", "gunicorn", "psycopg"],
    multiprocess_mode="livemax",
)
LOG_LINES_LEFT_OUT = Counter("pouw_log_lines_left_out", "Lines of a frequent event that the log leaves out.", ["event"])

# What all nodes of a database have in common. The background process finds it out; every worker reads it.
DISPUTES_OPEN = Gauge("pouw_disputes_open", "Disputes that are not settled.", multiprocess_mode="livemostrecent")
DISPUTES_OLDEST = Gauge(
    "pouw_disputes_oldest_age_seconds", "Age of the oldest of them.", multiprocess_mode="livemostrecent"
)
REWARDS = Gauge(
    "pouw_rewards_atoms_counted",
    "Atoms of all closed epochs: computed, allocated, unallocated, compensated (by disputes), paid.",
    ["state"],
    multiprocess_mode="livemax",
)
PAYOUT_ATOMS = Gauge(
    "pouw_payouts_atoms", "Atoms that are not paid yet, by state.", ["state"], multiprocess_mode="livemostrecent"
)
CHALLENGES_USED = Gauge(
    "pouw_challenges_used_counted",
    "Challenges under which a receipt was accepted, counted a minute after their end.",
    multiprocess_mode="livemax",
)
CHALLENGES_EXPIRED = Gauge(
    "pouw_challenges_expired_counted", "Challenges that ended without any receipt.", multiprocess_mode="livemax"
)
MUST_BE_ZERO = Gauge(
    "pouw_must_be_zero_counted", "How often a broken promise was found.", ["promise"], multiprocess_mode="livemax"
)
EPOCH_CLOSE_LAG = Gauge(
    "pouw_epoch_close_lag_seconds",
    "How long ago the oldest epoch that is not closed could have been.",
    multiprocess_mode="livemostrecent",
)
JOB_FINISHED = Gauge(
    "pouw_job_finished_timestamp_seconds",
    "When a background job last came to its end, on any machine.",
    ["name"],
    multiprocess_mode="livemax",
)
FIGURES_READ_AT = Gauge(
    "pouw_figures_timestamp_seconds",
    "When the background process last found out the figures that come from it; 0 for never.",
    multiprocess_mode="livemostrecent",
)
BACKUP_FINISHED = Gauge(
    "pouw_backup_finished_timestamp_seconds",
    "When a backup was last noted with `pouw backup note`; 0 for never.",
    multiprocess_mode="livemostrecent",
)
DB_SIZE = Gauge("pouw_db_size_bytes", "Size of the database.", multiprocess_mode="livemostrecent")


def expect(labels: Mapping[str, str]) -> None:
    """Show what has not happened yet as 0, so that its first time is an increase. ``labels``: details and reasons."""
    for detail, reason in labels.items():
        RECEIPTS_REJECTED.labels(reason, detail)
    for name in ("decode", "look_up", "verify", "commit"):
        SUBMIT_STAGE.labels(name)
    for counter, values in (
        (RATE_LIMIT_DENIALS, ("IP", "DID")),
        (OVERLOADS, ("memory", "submits")),
        (DB_ERRORS, ("unavailable", "refused")),
        (LOG_LINES_LEFT_OUT, ("batch_settled", "request_refused")),
    ):
        for value in values:
            counter.labels(value)


@functools.lru_cache(maxsize=4_096)  # methods, routes and statuses are few, and looking one up takes a lock
def http_duration(method: str, route: str, status: int) -> Histogram:
    """Return where the duration of such a request is observed."""
    return HTTP_DURATION.labels(method, route, status)


def left_out(event: str) -> None:
    """Count a line that the log leaves out."""
    LOG_LINES_LEFT_OUT.labels(event).inc()


class JobMetrics:
    """What the background process counts; made there only, so that a node does not show empty ones."""

    def __init__(self) -> None:
        self.runs = self._make(Counter, "pouw_job_runs", "Runs of background jobs, by outcome.", "name", "outcome")
        self.rows = self._make(Counter, "pouw_job_rows", "Rows that background jobs moved.", "name")
        self.duration = self._make(
            Histogram,
            "pouw_job_duration_seconds",
            "Time of one run of a background job.",
            "name",
            buckets=(0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800),
        )
        self.last_success = self._make(
            Gauge, "pouw_job_last_success_timestamp_seconds", "When a job last succeeded in this process.", "name"
        )

    def _make(self, kind: Any, name: str, text: str, *labels: str, **options: Any) -> Any:
        return kind(name, text, labels, registry=JOBS, **options)


@functools.cache
def jobs() -> JobMetrics:
    """Return the background process's metrics."""
    return JobMetrics()
