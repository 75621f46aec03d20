"""Structured logging: one static event name and its fields a line; JSON in production, readable otherwise."""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import sys
import tempfile
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import orjson

from pouw import tracing

if TYPE_CHECKING:
    from collections.abc import Callable

_REPEAT_SECS = 10.0

request_id: ContextVar[str] = ContextVar("request_id", default="")


class EventLogger:
    """Logs events: a static name and fields, never a text built from input."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def wants_info(self) -> bool:
        """Whether events of this level are logged: for those whose fields cost something."""
        return self._logger.isEnabledFor(logging.INFO)

    def info(self, event: str, **fields: Any) -> None:
        """Log what happened as it should."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: Any) -> None:
        """Log what an operator may want to look at."""
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: Any) -> None:
        """Log what must never happen."""
        self._logger.error(event, extra={"fields": fields})

    def exception(self, event: str, error: BaseException, **fields: Any) -> None:
        """Log a fault of the program with its traceback."""
        self._logger.error(event, extra={"fields": fields}, exc_info=error)


class Seldom:
    """Lets an event be logged once in ``seconds`` by all processes that were forked after this was made."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._file, name = tempfile.mkstemp()
        os.unlink(name)  # noqa: PTH108 - it lives as long as a process that has it open

    def due(self) -> bool:
        """Whether the event is due; the next time is then ``seconds`` away."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False  # another process is about to log it
        try:
            now = time.monotonic()
            last = os.pread(self._file, 8, 0)
            if last and now - struct.unpack("d", last)[0] < self._seconds:
                return False
            os.pwrite(self._file, struct.pack("d", now), 0)
            return True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


class Often:
    """Lets an event of this process be logged ``most`` times a second; what is left out is told to ``left_out``."""

    def __init__(
        self,
        event: str,
        most: int,
        left_out: Callable[[str], None],
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._event = event
        self._most = most
        self._left_out = left_out
        self._timer = timer
        self._second = 0
        self._logged = 0

    def due(self) -> bool:
        """Whether one more line may be logged in this second."""
        second = int(self._timer())
        if second != self._second:
            self._second, self._logged = second, 0
        self._logged += 1
        if self._logged > self._most:
            self._left_out(self._event)
            return False
        return True


limiter_away_line = Seldom(60.0)
"""Made here, where the master imports it before it forks, so that all workers together log one line a minute."""

log = EventLogger(logging.getLogger("pouw"))


class _Formatter(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        trace = tracing.current()
        if trace is not None:
            line |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if self._as_json:
            return orjson.dumps(line, default=str).decode()
        fields = " ".join(
            f"{key}={orjson.dumps(value, default=str).decode()}"
            for key, value in line.items()
            if key not in ("time", "level", "event", "traceback")
        )
        # The event of a foreign library may hold anything: quote what could break the line.
        event = line["event"] if line["event"].isprintable() else repr(line["event"])
        text = f"{line['time']} {line['level']:7} {event} {fields}".rstrip()
        return f"{text}\n{line['traceback']}" if "traceback" in line else text


def configure(level: str, *, as_json: bool) -> None:
    """Send every log line of this process to standard error in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=as_json))
    root = logging.getLogger()
    handler.addFilter(_Repeats())
    root.handlers = [handler]
    root.setLevel(level.upper())


class _Repeats(logging.Filter):
    """Lets the driver's complaints through, which name the cause, but the same one only now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "psycopg.pool":
            return True
        last = self._last.get(str(record.msg), -_REPEAT_SECS)
        if record.created - last < _REPEAT_SECS:
            return False
        self._last[str(record.msg)] = record.created
        return True
