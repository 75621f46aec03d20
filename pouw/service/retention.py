"""Keeping the database small: old rows go in small steps, old days after their epochs were archived and audited."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pouw.errors import EpochError
from pouw.logs import log
from pouw.service import sessions
from pouw.service.audit import audit
from pouw.service.exports import export
from pouw.store import retention as store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pouw.store.pool import Pool

_SECS_OF_DAY = 86_400
_STEPS_AT_ONCE = 200
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Periods:
    """How long things are kept: seconds, and days for receipts, rejections and batches."""

    verdict_secs: int
    challenge_secs: int
    receipt_days: int


def purge(pool: Pool, periods: Periods, rest: Callable[[], None]) -> int:
    """Drop what is older than its period, a bounded number of rows at a time with a ``rest`` between.

    Nonces go only when the challenge that they belong to has been over for an hour, whatever the periods.
    """
    ages = {
        "verdicts": periods.verdict_secs,
        "challenges": periods.challenge_secs,
        "nonces": store.NONCE_GRACE_SECS,
        "request_nonces": 0,
        "console_sessions": sessions.MOST_SECS,
        "batches": periods.receipt_days * _SECS_OF_DAY,
    }
    dropped = 0
    for what, age in ages.items():
        for _ in range(_STEPS_AT_ONCE):
            step = store.purge_step(pool, what, age)
            dropped += step
            if step == 0:
                break
            rest()
    return dropped


def archive_and_drop(pool: Pool, periods: Periods, folder: Path | None) -> int:
    """Archive the epochs of days that are old enough, audit each file, then drop those days; return how many.

    Without a folder receipts are kept for ever. Rejections need no archive.
    """
    dropped = 0
    for day in store.old_days(pool, periods.receipt_days):
        if day.parent == "receipts" and day.state == "attached":
            if folder is None:
                continue
            epochs, closed = store.epochs_of_day(pool, day.day)
            if not closed:
                continue
            for epoch in epochs:
                _archive(pool, epoch, folder)
        store.drop_day(pool, day)
        log.info("day_dropped", table=day.table)
        dropped += 1
    return dropped


def _archive(pool: Pool, epoch: int, folder: Path) -> None:
    """Export an epoch and audit the file; a file that an earlier run left is audited again."""
    file = folder / f"epoch-{epoch}.jsonl.xz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EpochError(f"{folder} cannot be made: {error.strerror}") from error
    if not file.exists():
        export(pool, epoch, file)
    report = audit(file)
    if report.manifest.epoch != epoch:
        raise EpochError(f"{file} holds epoch {report.manifest.epoch}")
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    store.note_archive(pool, epoch, file.name, digest.digest())
    log.info("epoch_archived", epoch=epoch, file=file.name)
