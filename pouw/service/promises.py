"""Looking for broken promises: what may never happen is counted where it did, so that somebody is woken."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from pouw.errors import ManifestError
from pouw.logs import log
from pouw.metrics import PROMISES
from pouw.protocol import manifests
from pouw.store import promises as store
from pouw.store.epochs import last_closed
from pouw.store.jobs import note, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pouw.store.pool import Pool
    from pouw.store.promises import BatchFound, EpochFound

JOB = "promises"
WITHIN_SECS = 3_600
_NEWEST = 100
_RANDOM = 100
_BACK = 100_000
_EPOCHS_AT_ONCE = 5


def look(pool: Pool, budget: int, *, sample: Callable[[Sequence[int], int], list[int]] = random.sample) -> int:
    """Look at some of the last hour's batches and at epochs closed since the last time; return how many were seen.

    The newest hundred batches are always among them, and a hundred out of the hundred thousand before. What is found
    is added to what was found before, in the job's note, which every node shows.
    """
    last = state(pool, JOB)
    broken = {promise: int(last.get("broken", {}).get(promise, 0)) for promise in PROMISES}
    newest = store.newest_batch(pool)
    older = range(max(1, newest - _BACK), max(1, newest - _NEWEST + 1))
    numbers = [*range(older.stop, newest + 1), *sample(older, min(_RANDOM, len(older)))]
    found = store.batches(pool, numbers, WITHIN_SECS)
    faults = [(promise, f"batch of {len(each.nonces)}") for each in found for promise in _broken_by_batch(each)]
    checked, closed = int(last.get("epoch", -1)), last_closed(pool)
    first = max(checked + 1, closed - _EPOCHS_AT_ONCE + 1)
    for number in range(first, closed + 1):
        row = store.epoch(pool, number)
        if row is not None:
            faults += [(promise, f"epoch {number}") for promise in _broken_by_epoch(row, number)]
            faults += [("credited_once", f"epoch {number}")] * store.credited_twice(pool, number)
    if store.spent(pool) > budget:
        faults.append(("budget_kept", "the lifetime budget"))
    for promise, where in faults:
        broken[promise] += 1
        log.error("promise_broken", promise=promise, where=where)
    note(pool, JOB, {"broken": broken, "epoch": closed, "batches": len(found)})
    return len(found)


def _broken_by_batch(batch: BatchFound) -> Iterator[str]:
    if batch.accepted != len(batch.nonces) or not _answered(batch) <= set(batch.nonces):
        yield "accepted_receipt_found"
    if batch.unclaimed:
        yield "credited_once"
    if batch.rejected != batch.rejections:
        yield "batch_complete"


def _answered(batch: BatchFound) -> set[bytes]:
    """Return the nonces that the client was told are accepted, where its answer is kept and is JSON."""
    if batch.answer is None or not batch.answer.startswith(b"{"):
        return set()
    return {bytes.fromhex(nonce) for nonce in json.loads(batch.answer)["accepted"]}


def _broken_by_epoch(row: EpochFound, number: int) -> Iterator[str]:
    if (row.receipts, row.allocated) != (row.reward_receipts, row.reward_atoms):
        yield "epoch_sums"
    if row.payout_atoms != row.reward_atoms:
        yield "payout_sums"
    try:
        previous = manifests.decode(row.manifest.encode()).previous
    except ManifestError:
        previous = ""
    before = manifests.FIRST_PREVIOUS
    if row.previous_manifest is not None:
        before = manifests.digest(row.previous_manifest.encode())
    if previous != before or (row.previous_manifest is None and number > 0):
        yield "epoch_chain"
