"""Maintenance: operators announce it once, and every node takes no work until its end; everything else goes on."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from pouw import metrics
from pouw.errors import InMaintenance
from pouw.service.access import check_expiry, check_reason
from pouw.service.fresh import Fresh
from pouw.store import maintenance as store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.store.maintenance import Announcement
    from pouw.store.pool import Pool

_FRESH_SECS = 1.0
_USUAL_WAIT_SECS = 30
_LONGEST_WAIT_SECS = 120
"""Whoever is told to wait longer would not notice that the maintenance ended early."""


class Maintenance:
    """The gate that challenges and batches pass; every node opens and closes it within two seconds."""

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._announced = Fresh(lambda: store.read(pool), seconds=_FRESH_SECS, timer=timer)

    def current(self) -> Announcement | None:
        """Return the maintenance that is in force as far as this node knows; the last one known without a database.

        Raises :class:`pouw.errors.StoreUnavailable` where the database was never there to be asked.
        """
        return self._in_force(self._announced.get())

    def admit(self) -> None:
        """Let a request for work pass; raise :class:`InMaintenance` where none is taken."""
        announced = self.current()
        if announced is None:
            return
        metrics.MAINTENANCE_DENIALS.inc()
        raise InMaintenance(announced.reason, self._wait(announced))

    def look(self) -> Announcement | None:
        """Return the maintenance that is in force, as the database has it at this moment."""
        return self._in_force(self._announced.renew())

    def announce(self, reason: str, actor: str, ends_at: float | None) -> None:
        """Begin a maintenance, until ``ends_at`` (unix seconds) at the latest. Raises :class:`AccessError`."""
        store.announce(self._pool, check_reason(reason), actor, check_expiry(ends_at))

    def take_back(self, actor: str) -> bool:
        """End the maintenance; False where there is none."""
        return store.take_back(self._pool, actor)

    def _in_force(self, announced: Announcement | None) -> Announcement | None:
        if announced is None or self._left(announced) <= 0:
            return None
        return announced

    def _left(self, announced: Announcement) -> float:
        return math.inf if announced.ends_at is None else announced.ends_at.timestamp() - self._clock()

    def _wait(self, announced: Announcement) -> int:
        """Return after how many seconds it is worth asking again."""
        left = self._left(announced)
        return _USUAL_WAIT_SECS if math.isinf(left) else max(1, min(math.ceil(left), _LONGEST_WAIT_SECS))
