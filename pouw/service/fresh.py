"""A value out of the database that every request needs: kept in memory, read again in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import gevent

from pouw.errors import StoreError
from pouw.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_STALE = 5
"""Older than so many times its age, after a quiet time, a value is not used without a look at the database."""


class Fresh(Generic[T]):
    """A value that is at most about ``seconds`` old; the last one that could be read while the database is away."""

    def __init__(self, read: Callable[[], T], *, seconds: float, timer: Callable[[], float]) -> None:
        self._read = read
        self._seconds = seconds
        self._timer = timer
        self._value: T | None = None
        self._read_at = 0.0
        self._reading = False

    def get(self) -> T:
        """Return the value; only the first call, and one after a quiet time, wait for the database.

        Raises :class:`StoreError` where there is no value yet and it cannot be read.
        """
        if self._value is None:
            return self.renew()
        age = self._timer() - self._read_at
        if not self._reading and age > self._seconds:
            self._reading = True
            if age > _STALE * self._seconds:
                self._renew_quietly()
            else:
                gevent.spawn(self._renew_quietly)
        return self._value

    def renew(self) -> T:
        """Read the value now and return it; raise :class:`StoreError` where that fails."""
        self._value = value = self._read()
        self._read_at = self._timer()
        return value

    def _renew_quietly(self) -> None:
        try:
            self.renew()
        except StoreError as error:
            self._read_at = self._timer()  # not again at once
            log.warning("stale_value_kept", error=str(error))
        finally:
            self._reading = False
