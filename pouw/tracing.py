"""Traces: W3C trace context is taken over and passed on; spans go to an OpenTelemetry collector where one is set up.

Without :func:`open_traces` there are no spans, and nothing of OpenTelemetry's SDK is imported: it is an extra.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# W3C Trace Context, sections 3.2.2 and 4.3: a later version may have more behind a dash; version ff is none.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace that a request belongs to, and the request's own place in it; ``span`` is OpenTelemetry's, if any."""

    trace_id: str
    span_id: str
    flags: str
    span: Any = None

    def header(self) -> str:
        """Return this place as a ``traceparent`` of version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
_tracer: Any = None
_NO_SPAN = nullcontext()


def current() -> Trace | None:
    """Return the present request's trace."""
    return _current.get()


def parse(header: str | None) -> Trace | None:
    """Read a ``traceparent``; None for one that is not valid, which W3C wants to be treated like none."""
    found = _TRACEPARENT.match(header or "")
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    return None if version == "00" and more else Trace(trace_id, span_id, f"{int(flags, 16) & 1:02x}")


def begin(header: str | None, name: str) -> None:
    """Begin a request: in the caller's trace, or in one of its own where spans are recorded."""
    caller = parse(header)
    if _tracer is None:
        _current.set(None if caller is None else Trace(caller.trace_id, os.urandom(8).hex(), caller.flags))
        return
    from opentelemetry import trace  # noqa: PLC0415 - an extra that few nodes have

    context = None
    if caller is not None:
        flags = trace.TraceFlags(int(caller.flags, 16))
        parent = trace.SpanContext(int(caller.trace_id, 16), int(caller.span_id, 16), is_remote=True, trace_flags=flags)
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    span = _tracer.start_span(name, context=context, kind=trace.SpanKind.SERVER)
    own = span.get_span_context()
    _current.set(Trace(f"{own.trace_id:032x}", f"{own.span_id:016x}", f"{int(own.trace_flags):02x}", span))


def end(attributes: dict[str, Any]) -> None:
    """End the request's span, if it has one, with what is known of it now."""
    request = _current.get()
    if request is not None and request.span is not None:
        request.span.set_attributes(attributes)
        request.span.end()
        _current.set(None)


def span(name: str) -> AbstractContextManager[None]:
    """Record a part of the present request, where its spans are recorded."""
    request = _current.get()
    if _tracer is None or request is None or request.span is None:
        return _NO_SPAN
    return _record(name, request.span)


@contextmanager
def _record(name: str, parent: Any) -> Iterator[None]:
    from opentelemetry import trace  # noqa: PLC0415 - an extra that few nodes have

    part = _tracer.start_span(name, context=trace.set_span_in_context(parent))
    try:
        yield
    finally:
        part.end()


def open_traces(url: str, percent: int, version: str) -> Callable[[], None]:
    """Send spans to a collector (OTLP over HTTP); return what ends that. Call it after the fork: it has a thread."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra that few nodes have
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider, sampling  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    global _tracer  # noqa: PLW0603 - one for each process, as the metrics are
    provider = TracerProvider(
        resource=Resource.create({"service.name": "pouw", "service.version": version}),
        sampler=sampling.ParentBased(sampling.TraceIdRatioBased(percent / 100)),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=5)))
    _tracer = provider.get_tracer("pouw", version)

    def close() -> None:
        global _tracer  # noqa: PLW0603
        _tracer = None
        provider.shutdown()

    return close
