"""Where reads go that may be some seconds old: to a standby while it keeps up, and otherwise to the primary."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import gevent

from pouw.errors import StoreError, StoreUnavailable
from pouw.store import standby as store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.store.pool import Pool

P = ParamSpec("P")
T = TypeVar("T")

_EVERY_SECS = 0.5


class Readers:
    """Runs queries that only read. Without a standby, or before :meth:`start`, all of them ask the primary."""

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
        self._complete_to = -math.inf
        """The standby shows every commit before this moment."""
        self._marks: deque[tuple[float, int]] = deque(maxlen=math.ceil(most_lag / _EVERY_SECS) + 2)
        self._greenlet: gevent.Greenlet[[Pool], None] | None = None

    def start(self) -> None:
        """Look after the standby, if there is one, until :meth:`stop`."""
        if self._standby is not None:
            self._greenlet = gevent.spawn(self._run, self._standby)

    def stop(self) -> None:
        """Look no more."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def read(self, query: Callable[Concatenate[Pool, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``query(pool, ...)``; what a standby cannot answer, the primary does.

        Raises :class:`StoreError` as the query does.
        """
        if self._standby is not None and self.lag() <= self._most_lag:
            try:
                return query(self._standby, *args, **kwargs)
            except StoreError:  # gone, or in the way of what it replays, or not (yet) with the tables of this version
                self._complete_to = -math.inf  # until the next look: nobody else has to find out
        return query(self._primary, *args, **kwargs)

    def lag(self) -> float:
        """Return how many seconds the standby is behind at most: infinity where it does not answer."""
        return self._timer() - self._complete_to

    def check(self) -> None:
        """Raise :class:`StoreUnavailable` where the standby is left out."""
        lag = self.lag()
        if lag > self._most_lag:
            behind = "does not answer, or is none" if math.isinf(lag) else f"is {lag:.0f} s behind"
            raise StoreUnavailable(f"The standby {behind}: reads go to the primary")

    def _run(self, standby: Pool) -> None:
        while True:
            self._look(standby)
            gevent.sleep(_EVERY_SECS)

    def _look(self, standby: Pool) -> None:
        """Mark how far the primary has come, and find the newest mark that the standby has come by."""
        asked_at = self._timer()
        try:
            committed = store.committed(self._primary)
        except StoreError:  # what is known of the standby grows old meanwhile
            return
        self._marks.append((asked_at, committed.at))
        try:
            reached = store.replayed(standby)
        except StoreError:
            reached = None
        if reached is None or reached.cluster != committed.cluster:
            self._complete_to = -math.inf
            return
        while self._marks and self._marks[0][1] <= reached.at:
            self._complete_to = self._marks.popleft()[0]
