"""The signals that end a command, and the memory of them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP: the first raises :class:`KeyboardInterrupt`, the others wait for what it does.

    Python drops an exception that is raised in a ``__del__`` or in a callback of C code, with a line on standard
    error at most. So the first signal is remembered as well, and whoever waits in a loop asks with :meth:`check`.
    """

    def __init__(self) -> None:
        """Take the signals over, for the rest of the process; only the main thread can."""
        self._came = False
        for number in _SIGNALS:
            signal.signal(number, self._interrupt)

    def check(self) -> None:
        """Raise :class:`KeyboardInterrupt` where a signal came."""
        if self._came:
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if not self._came:
            self._came = True
            raise KeyboardInterrupt
