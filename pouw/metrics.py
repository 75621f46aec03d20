"""Every Prometheus object of the node. No label ever holds a DID, an address or a nonce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

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
DB_ERRORS = Counter("pouw_db_errors", "Requests that failed for the database: unavailable or refused.", ["kind"])


def stage(name: str) -> Timer:
    """Time one stage of a batch, as a context manager."""
    return SUBMIT_STAGE.labels(name).time()
