"""What a worker takes in at once: the bytes of bodies, and batches that are worked on. Beyond it, 503 at once."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

import gevent
from flask import request
from werkzeug.http import parse_options_header

from pouw import metrics
from pouw.web.problems import Problem, unavailable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_PIECE = 65_536
_SMALL = 131_072
"""A body's first bytes are always taken, so that full-grown batches of strangers never keep small ones out."""


class Intake:
    """Reads bodies and lets batches in, within the bounds of one worker.

    At most ``memory`` bytes are held of bodies beyond their first 128 KiB, and at most ``submits`` batches are worked
    on at a time. Whoever comes beyond that is told to come again, instead of waiting in a queue without end.
    """

    def __init__(self, *, memory: int, submits: int, timeout: float) -> None:
        self._free = memory
        self._slots = _Slots(submits)
        self._timeout = timeout

    def body(self, content_types: tuple[str, ...], max_bytes: int) -> AbstractContextManager[tuple[bytes, str]]:
        """Read the request's body and hold its memory until the end of the block; give it and its content type.

        Raises :class:`Problem`: 411 without a Content-Length, 413 over ``max_bytes``, 415 for another content
        type, 408 where it comes too slowly, 400 where it ends too early, 503 where the worker holds too much.
        """
        return _Body(self, content_types, max_bytes)

    def read(self, length: int, held: list[int]) -> bytes:
        """Read so many bytes; note in ``held`` what they take of the memory."""
        stream: BinaryIO = request.environ["wsgi.input"]
        if getattr(stream, "buffered", 0) >= length:  # see pouw.worker.Worker.handle_request
            return self._pieces(stream, length, held)
        try:
            with gevent.Timeout(self._timeout):
                return self._pieces(stream, length, held)
        except gevent.Timeout:
            _give_up_on_body()
            detail = f"All of it has to arrive within {self._timeout:g} seconds."
            raise Problem(408, "request-timeout", "The body came too slowly.", detail) from None

    def _pieces(self, stream: BinaryIO, length: int, held: list[int]) -> bytes:
        pieces: list[bytes] = []
        read = 0
        while read < length:
            wanted = min(_PIECE, length - read)
            if read >= _SMALL:
                self._hold(wanted, held)
            piece = stream.read(wanted)
            read += len(piece)
            pieces.append(piece)
            if len(piece) < wanted:
                raise Problem(400, "body-cut", "The body ended early.", f"{read} of {length} bytes arrived.")
        return b"".join(pieces)

    def _hold(self, size: int, held: list[int]) -> None:
        if size > self._free:
            _give_up_on_body()
            metrics.OVERLOADS.labels("memory").inc()
            raise unavailable("The node holds as many large bodies as it can. Send smaller batches, or wait.")
        self._free -= size
        held.append(size)

    def let_go(self, held: list[int]) -> None:
        """Give back the memory that a body took."""
        self._free += sum(held)

    def slot(self) -> AbstractContextManager[None]:
        """Work on a batch in the block; raise :class:`Problem` 503 where too many are worked on already."""
        return self._slots


class _Body:
    """A body in memory, for the length of a block. A class: generators cost every batch some microseconds more."""

    __slots__ = ("_content_types", "_held", "_intake", "_max_bytes")

    def __init__(self, intake: Intake, content_types: tuple[str, ...], max_bytes: int) -> None:
        self._intake = intake
        self._content_types = content_types
        self._max_bytes = max_bytes
        self._held: list[int] = []

    def __enter__(self) -> tuple[bytes, str]:
        length, content_type = _announced(self._content_types, self._max_bytes)
        try:
            return self._intake.read(length, self._held), content_type
        except BaseException:
            self._intake.let_go(self._held)
            raise

    def __exit__(self, *_error: object) -> None:
        self._intake.let_go(self._held)


class _Slots:
    """The batches that may still be worked on; each takes a slot for the length of a block."""

    def __init__(self, free: int) -> None:
        self._free = free

    def __enter__(self) -> None:
        if self._free < 1:
            metrics.OVERLOADS.labels("submits").inc()
            raise unavailable("The node works on as many batches as it can. Send the same bytes again.")
        self._free -= 1

    def __exit__(self, *_error: object) -> None:
        self._free += 1


@lru_cache(maxsize=256)  # the same few headers, with every request
def _media_type(content_type: str) -> str:
    return parse_options_header(content_type)[0].lower()


def _announced(content_types: tuple[str, ...], max_bytes: int) -> tuple[int, str]:
    """Return the length and the media type that the request announces; refuse what need not be read at all."""
    length = request.content_length
    if length is None or "HTTP_TRANSFER_ENCODING" in request.environ:
        raise Problem(411, "length-required", "Send a Content-Length.", "A chunked body is not taken.")
    if length > max_bytes:
        _give_up_on_body()
        detail = f"It has {length} bytes; at most {max_bytes} are taken."
        raise Problem(413, "body-too-large", "The body is too large.", detail)
    media_type = _media_type(request.environ.get("CONTENT_TYPE", ""))
    if media_type not in content_types:
        detail = f"Send {' or '.join(content_types)}."
        raise Problem(415, "unsupported-media-type", "The content type is not taken.", detail)
    return length, media_type


def _give_up_on_body() -> None:
    """Let Gunicorn close the connection after the answer, and say so, instead of reading what is left of the body."""
    body = request.environ["wsgi.input"]
    if hasattr(body, "failed"):
        body.failed = True
    if hasattr(body, "close_connection"):  # see pouw.worker.Worker.handle_request
        body.close_connection()
