"""One log line for a batch: whose it was, what was decided, and how long each stage took."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pouw import metrics, stages
from pouw.logs import Often, log

if TYPE_CHECKING:
    from pouw.service.submissions import Batch
    from pouw.store.submissions import Outcome

_often = Often("batch_settled", 10, metrics.left_out)


def note(batch: Batch, outcome: Outcome | None) -> None:
    """Log a batch that was answered; without an outcome it got the answer of an earlier one."""
    if not log.wants_info() or not _often.due():
        return
    fields = {"did": batch.client_did, "batch_digest": batch.digest.hex(), "receipts": len(batch.receipts)}
    if outcome is None:
        log.info("batch_settled", decision="replayed", **fields, ms=stages.milliseconds())
        return
    rejected = Counter(rejection.detail.value for rejection in outcome.rejected)
    log.info(
        "batch_settled",
        decision="settled",
        **fields,
        accepted=len(outcome.credited),
        rejected=dict(rejected),
        ms=stages.milliseconds(),
    )
