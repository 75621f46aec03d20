"""What operators watch of the whole network: found out by the background process, read by every worker.

One process finds it out every quarter of a minute, and notes it in a row. A scrape reads files only, whoever scrapes,
and a worker reads a dozen rows every five seconds: the tables are never asked more often because somebody watches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pouw import metrics
from pouw.service.epochs import SETTLE_SECS
from pouw.store import figures as store
from pouw.store import payouts
from pouw.store.jobs import note, state

if TYPE_CHECKING:
    from pouw.store.epochs import Calendar
    from pouw.store.figures import Board
    from pouw.store.pool import Pool

JOB, CHALLENGES, PROMISES, BACKUP, RESTORE = "figures", "challenges", "promises", "backup", "restore"
_UNPAID = ("pending", "processing", "failed")
_CLOSED = ("computed", "allocated", "unallocated", "compensated", "paid")
_STEP_SECS = 60
_STEPS_AT_ONCE = 200


def find_out(pool: Pool) -> int:
    """Find out the figures and note them; return how many there are."""
    found = store.read(pool)
    money = payouts.money(pool)
    found["atoms"] = {name: str(money[f"{name}_atoms"]) for name in (*_CLOSED, *_UNPAID)}
    note(pool, JOB, found)
    return len(found)


def count_challenges(pool: Pool) -> int:
    """Count the challenges that ended since the last time, each once, in steps; return how many."""
    last = state(pool, CHALLENGES)
    until = int(last["until"]) if "until" in last else store.first_challenge_end(pool)
    used, unused = int(last.get("used", 0)), int(last.get("unused", 0))
    counted = 0
    for _ in range(_STEPS_AT_ONCE):
        reached, with_receipt, without = store.ended_challenges(pool, until, _STEP_SECS)
        if reached == until:
            break
        until, used, unused, counted = reached, used + with_receipt, unused + without, counted + with_receipt + without
    note(pool, CHALLENGES, {"until": until, "used": used, "unused": unused})
    return counted


def note_backup(pool: Pool, actor: str, reason: str) -> None:
    """Write down that a backup succeeded just now."""
    store.note_by_hand(pool, BACKUP, "backup.note", actor, reason)


def note_restore(pool: Pool, actor: str, reason: str) -> None:
    """Write down that a backup was restored somewhere just now, and was whole."""
    store.note_by_hand(pool, RESTORE, "backup.restored", actor, reason)


def show(board: Board, calendar: Calendar) -> None:
    """Set the metrics that come from the background process; what it never found out is left out."""
    due = calendar.starts_at(board.last_closed + 2) + SETTLE_SECS
    metrics.EPOCH_CLOSE_LAG.set(max(0.0, board.now - due))
    for name, finished in board.finished.items():
        metrics.JOB_FINISHED.labels(name).set(finished)
    metrics.FIGURES_READ_AT.set(board.finished.get(JOB, 0.0))
    metrics.BACKUP_FINISHED.set(board.finished.get(BACKUP, 0.0))
    challenges = board.notes.get(CHALLENGES, {})
    metrics.CHALLENGES_USED.set(challenges.get("used", 0))
    metrics.CHALLENGES_EXPIRED.set(challenges.get("unused", 0))
    broken = board.notes.get(PROMISES, {}).get("broken", {})
    for promise in metrics.PROMISES:
        metrics.MUST_BE_ZERO.labels(promise).set(broken.get(promise, 0))
    figures = board.notes.get(JOB)
    if figures is not None:
        oldest = figures["disputes_oldest_at"]
        metrics.DISPUTES_OPEN.set(figures["disputes_open"])
        metrics.DISPUTES_OLDEST.set(0.0 if oldest is None else max(0.0, board.now - oldest))
        metrics.DB_SIZE.set(figures["database_bytes"])
        for name in _CLOSED:
            metrics.REWARDS.labels(name).set(float(figures["atoms"][name]))
        for name in _UNPAID:
            metrics.PAYOUT_ATOMS.labels(name).set(float(figures["atoms"][name]))
