"""The state of each part that the node leans on, asked for with a time-out."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pouw.errors import NoSigningKey, StoreError
from pouw.store.pool import ping

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.store.pool import Pool

_TIMEOUT_SECS = 1.0
_FRESH_SECS = 0.25


@dataclass(frozen=True, slots=True)
class Part:
    """One part: what was asked, and what is wrong with it, if anything. ``seconds`` is how long it took."""

    name: str
    fault: str | None
    seconds: float
    vital: bool

    def as_dict(self) -> dict[str, object]:
        """Return the part as the health answer shows it."""
        shown: dict[str, object] = {
            "status": "down" if self.fault else "ok",
            "ms": round(self.seconds * 1000, 1),
        }
        return shown | ({"fault": self.fault} if self.fault else {})


@dataclass(frozen=True, slots=True)
class Report:
    """All parts together."""

    parts: tuple[Part, ...]

    @property
    def ready(self) -> bool:
        """Whether the node can do its work."""
        return not any(part.fault and part.vital for part in self.parts)

    @property
    def status(self) -> Literal["ok", "degraded", "down"]:
        """The state in one word."""
        if not self.ready:
            return "down"
        return "degraded" if any(part.fault for part in self.parts) else "ok"


_STOPS = Part("node", "It stops: send its requests elsewhere", 0.0, vital=True)


class Health:
    """Asks PostgreSQL, the key ring, Redis and the standby for reads how they are."""

    def __init__(
        self,
        pool: Pool,
        check_keys: Callable[[], object],
        ping_redis: Callable[[], None] | None,
        check_standby: Callable[[], None] | None = None,
        *,
        timer: Callable[[], float],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stopping = stopping
        self._pool = pool
        self._check_keys = check_keys
        self._ping_redis = ping_redis
        self._check_standby = check_standby
        self._timer = timer
        self._lock = threading.Lock()
        self._report: Report | None = None
        self._asked_at = 0.0

    def check(self) -> Report:
        """Return the state of every part, asked for within the last quarter of a second: a crowd asks only once.

        That the node stops is seen at once.
        """
        with self._lock:
            if self._report is None or self._timer() - self._asked_at > _FRESH_SECS:
                self._report = self._ask_all()
                self._asked_at = self._timer()
            report = self._report
        return Report((*report.parts, _STOPS)) if self._stopping() else report

    def _ask_all(self) -> Report:
        parts = [self._ask("database", lambda: ping(self._pool, _TIMEOUT_SECS), vital=True)]
        if parts[0].fault is None:  # their states are in the database
            parts.append(self._ask("keys", self._check_keys, vital=True))
        if self._ping_redis is not None:
            parts.append(self._ask("redis", self._ping_redis, vital=False))
        if self._check_standby is not None:
            parts.append(self._ask("standby", self._check_standby, vital=False))
        return Report(tuple(parts))

    def _ask(self, name: str, question: Callable[[], object], *, vital: bool) -> Part:
        start = self._timer()
        try:
            question()
            fault = None
        except (NoSigningKey, StoreError, OSError) as error:
            fault = str(error) or type(error).__name__
        return Part(name, fault, self._timer() - start, vital)
