"""Every Prometheus object of the node. No label ever holds a DID, an address or a nonce."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client.context_managers import Timer

RECEIPTS_RECEIVED = Counter("pouw_receipts_received", "Receipts in well-formed batches.")
RECEIPTS_ACCEPTED = Counter("pouw_receipts_accepted", "Receipts committed and reported as accepted.")
RECEIPTS_REJECTED = Counter(
    "pouw_receipts_rejected",
    "Receipts refused, by the labels of pouw.protocol.reasons.",
    ["reason", "detail"],
)
BATCH_SIZE = Histogram("pouw_batch_size", "Receipts in a batch.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000))
CHALLENGES_ISSUED = Counter("pouw_challenges_issued", "Challenges stored and handed out.")
SIGNATURE_VERIFICATION = Histogram(
    "pouw_signature_verification_duration_seconds",
    "Time to verify one batch's signatures, waiting for a thread included.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
VERIFY_ENGINE = Gauge(
    "pouw_verify_engine_info",
    "1 for the engine that verifies signatures, and the CPU path that it takes.",
    ["engine", "path"],
    multiprocess_mode="max",
)
VERIFY_DIFFERENCES = Counter("pouw_verify_differences", "Signatures about which two engines disagreed. Has to stay 0.")
SUBMIT_STAGE = Histogram(
    "pouw_submit_stage_duration_seconds",
    "Time of one stage of a batch: decode, look_up, verify, commit.",
    ["stage"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
RATE_LIMIT_DENIALS = Counter("pouw_rate_limit_denials", "Requests refused by a quota: IP or DID.", ["scope"])
RATE_LIMIT_BACKEND_ERRORS = Counter(
    "pouw_rate_limit_backend_errors", "Quota checks that Redis did not answer and local quotas took over."
)
OVERLOADS = Counter("pouw_overload_denials", "Requests refused at once for want of memory or of a slot.", ["what"])
DISPUTES_LOGGED = Counter("pouw_disputes_logged", "Disputes that were filed.")
DB_ERRORS = Counter("pouw_db_errors", "Requests that failed for the database: unavailable or refused.", ["kind"])


def stage(name: str) -> Timer:
    """Time one stage of a batch, as a context manager."""
    return SUBMIT_STAGE.labels(name).time()


class JobMetrics:
    """What the background process counts; made there only, so that a node does not show empty ones."""

    def __init__(self) -> None:
        self.runs = Counter("pouw_job_runs", "Runs of background jobs: done, failed, or elsewhere.", ["job", "outcome"])
        self.rows = Counter("pouw_job_rows", "Rows that background jobs moved.", ["job"])
        self.duration = Histogram(
            "pouw_job_duration_seconds",
            "Time of one run of a background job.",
            ["job"],
            buckets=(0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800),
        )
        self.last_success = Gauge(
            "pouw_job_last_success_timestamp_seconds", "When a background job last succeeded in this process.", ["job"]
        )
        self.epoch_close_lag = Gauge(
            "pouw_epoch_close_lag_seconds", "How long ago the oldest epoch that is not closed could have been."
        )


@functools.cache
def jobs() -> JobMetrics:
    """Return the background process's metrics."""
    return JobMetrics()
