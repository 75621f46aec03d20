"""The stages of a batch, each timed for the metrics, the log and the trace."""

from __future__ import annotations

import functools
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pouw import metrics, tracing

if TYPE_CHECKING:
    from types import TracebackType

    from prometheus_client import Histogram

_times: ContextVar[dict[str, float] | None] = ContextVar("stages", default=None)


def begin() -> None:
    """Forget the stages of the request before on this connection."""
    _times.set({})


class Stage:
    """Times one stage of a batch: a context manager, to be entered once."""

    __slots__ = ("_name", "_span", "_start")

    def __init__(self, name: str) -> None:
        self._name = name
        self._span = tracing.span(name)

    def __enter__(self) -> None:
        self._span.__enter__()
        self._start = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._start
        self._span.__exit__(kind, error, where)
        _timer(self._name).observe(seconds)
        times = _times.get()
        if times is not None:
            times[self._name] = times.get(self._name, 0.0) + seconds


@functools.cache
def _timer(name: str) -> Histogram:
    return metrics.SUBMIT_STAGE.labels(name)


def milliseconds() -> dict[str, float]:
    """Return how long each stage of the present request took so far."""
    return {name: round(seconds * 1000, 2) for name, seconds in (_times.get() or {}).items()}
