"""A value out of the database that every request needs: kept in memory, read again in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import gevent

from pouw.errors import StoreError
from pouw.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_STALE = 1.5
"""Older than so many times its age, after a quiet time, a value is not used without a look at the database."""
_PATIENCE_SECS = 1.0
"""Longer than this nobody waits for that look: the database is away, and the last value holds."""


class Fresh(Generic[T]):
    """A value that is at most about ``seconds`` old; the last one that could be read while the database is away."""

    def __init__(self, read: Callable[[], T], *, seconds: float, timer: Callable[[], float]) -> None:
        self._read = read
        self._seconds = seconds
        self._timer = timer
        self._known: tuple[T] | None = None
        self._read_at = 0.0
        self._reading: gevent.Greenlet[[], None] | None = None

    def get(self) -> T:
        """Return the value; only the first calls, and those after a quiet time, wait for the database.

        Raises :class:`StoreError` where there is no value yet and it cannot be read.
        """
        if self._known is None:
            return self.renew()
        age = self._timer() - self._read_at
        if age > self._seconds:
            if self._reading is None:
                self._reading = gevent.spawn(self._renew_quietly)
            if age > _STALE * self._seconds:
                self._reading.join(_PATIENCE_SECS)
        return self._known[0]

    def renew(self) -> T:
        """Read the value now and return it; raise :class:`StoreError` where that fails."""
        asked_at = self._timer()
        value = self._read()
        self._known, self._read_at = (value,), asked_at
        return value

    def _renew_quietly(self) -> None:
        try:
            self.renew()
        except StoreError as error:
            self._read_at = self._timer()  # not again at once
            log.warning("stale_value_kept", error=str(error))
        finally:
            self._reading = None
