"""Where reads go that may be some seconds old: to a standby while it keeps up, and otherwise to the primary."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from pouw.errors import StoreError, StoreUnavailable
from pouw.service.fresh import Fresh
from pouw.store import standby as store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.store.pool import Pool

P = ParamSpec("P")
T = TypeVar("T")

_MEASURE_SECS = 1.0
_MOST_MARKS = 1_000


class Readers:
    """Runs queries that only read. Without a standby all of them ask the primary."""

    def __init__(
        self,
        primary: Pool,
        standby: Pool | None = None,
        *,
        most_lag: float = 5.0,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the standby while it is at most ``most_lag`` seconds behind."""
        self._primary = primary
        self._standby = standby
        self._most_lag = most_lag
        self._timer = timer
        self._lag = Fresh(self._measure, seconds=_MEASURE_SECS, timer=timer)
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MOST_MARKS)

    def read(self, query: Callable[Concatenate[Pool, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``query(pool, ...)``; what a standby cannot answer, the primary does.

        Raises :class:`StoreError` as the query does.
        """
        if self._standby is not None and self.lag() <= self._most_lag:
            try:
                return query(self._standby, *args, **kwargs)
            except StoreUnavailable:  # gone, or the query was in the way of what it replays
                pass
        return query(self._primary, *args, **kwargs)

    def lag(self) -> float:
        """Return how many seconds the standby is behind at most: infinity where it does not answer."""
        try:
            return self._lag.get()
        except StoreError:  # of the primary, and it was never asked before
            return math.inf

    def check(self) -> None:
        """Raise :class:`StoreUnavailable` where the standby is left out."""
        lag = self.lag()
        if lag > self._most_lag:
            behind = "does not answer, or is none" if math.isinf(lag) else f"is {lag:.0f} s behind"
            raise StoreUnavailable(f"The standby {behind}: reads go to the primary")

    def _measure(self) -> float:
        """Return the age of the newest mark in the primary's log that the standby has come by."""
        assert self._standby is not None  # noqa: S101 - nobody asks otherwise
        asked_at = self._timer()
        self._marks.append((asked_at, store.committed(self._primary)))
        try:
            reached = store.replayed(self._standby)
        except StoreError:
            reached = None
        if reached is None:
            return math.inf
        passed = None
        while self._marks and self._marks[0][1] <= reached:
            passed = self._marks.popleft()
        if passed is None:
            return math.inf
        self._marks.appendleft(passed)  # the next ones may not be reached by the next time
        return asked_at - passed[0]
