"""What the console shows of a node and its network, out of what others found out already."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pouw.service.fresh import Fresh
from pouw.store import figures as store
from pouw.store import reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pouw.service.health import Health
    from pouw.service.keyring import KeyRing
    from pouw.service.stats import Stats
    from pouw.store.pool import Pool

Series = tuple[str, dict[str, str], float]

_FRESH_SECS = 2.0
_ROUTES = ("/api/v1/pouw/challenge", "/api/v1/pouw/submit")
_BUCKETS = "pouw_http_request_duration_seconds_bucket"
_SHOWN = frozenset(
    f"pouw_{name}"
    for name in (
        "receipts_received_total",
        "receipts_accepted_total",
        "receipts_rejected_total",
        "challenges_issued_total",
        "challenges_used_total",
        "challenges_expired_total",
        "rate_limit_denials_total",
        "inflight",
        "epoch_close_lag_seconds",
        "verify_differences_total",
    )
)


@dataclass(frozen=True, slots=True)
class _Found:
    at: float
    board: store.Board
    refused: list[dict[str, Any]]
    series: list[dict[str, Any]]


@dataclass
class Board:
    """Everything on one page. ``totals`` gives the series of all workers, ``over_quota`` whom quotas refused most."""

    pool: Pool
    health: Health
    ring: KeyRing
    stats: Stats
    totals: Callable[[], Iterable[Series]]
    over_quota: Callable[[], list[dict[str, Any]]]
    clock: Callable[[], float] = time.time
    _found: Fresh[_Found] = field(init=False)

    def __post_init__(self) -> None:
        self._found = Fresh(self._read, seconds=_FRESH_SECS, timer=time.monotonic)

    def _read(self) -> _Found:
        series = [
            {"name": name, "labels": labels, "value": value}
            for name, labels, value in self.totals()
            if name in _SHOWN or (name == _BUCKETS and labels.get("route") in _ROUTES)
        ]
        return _Found(self.clock(), store.board(self.pool), reads.refused_most(self.pool), series)

    def show(self) -> dict[str, Any]:
        """Return the board; raise :class:`pouw.errors.StoreError` where nothing was ever read of it."""
        report = self.health.check()
        found = self._found.get()
        notes = found.board.notes
        jobs = {name: at for name, at in found.board.finished.items() if name != "backup"}
        return {
            "at": found.at,
            "health": {
                "status": report.status,
                "ready": report.ready,
                "components": {part.name: part.as_dict() for part in report.parts},
            },
            "series": found.series,
            "epochs": self.stats.status(),
            "counts": self.stats.counts(),
            "jobs": [{"name": name, "finished_at": at} for name, at in sorted(jobs.items())],
            "backup_at": found.board.finished.get("backup"),
            "promises": notes.get("promises", {}).get("broken", {}),
            "disputes_open": notes.get("figures", {}).get("disputes_open"),
            "keys": [
                {
                    "public_key": key.public_key,
                    "state": key.state,
                    "valid_from": key.valid_from,
                    "valid_until": key.valid_until,
                }
                for key in self.ring.known()
            ],
            "refused": found.refused,
            "over_quota": self.over_quota(),
        }
