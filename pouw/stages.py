"""The stages of a batch, each timed once for the metrics, the log and the trace."""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pouw import metrics, tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

_times: ContextVar[dict[str, float] | None] = ContextVar("stages", default=None)


def begin() -> None:
    """Forget the stages of the request before on this connection."""
    _times.set({})


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time one stage of a batch."""
    start = time.perf_counter()
    try:
        with tracing.span(name):
            yield
    finally:
        seconds = time.perf_counter() - start
        metrics.SUBMIT_STAGE.labels(name).observe(seconds)
        times = _times.get()
        if times is not None:
            times[name] = seconds


def milliseconds() -> dict[str, float]:
    """Return how long each stage of the present request took so far."""
    return {name: round(seconds * 1000, 2) for name, seconds in (_times.get() or {}).items()}
