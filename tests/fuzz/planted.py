"""Targets with a fault each, to show that the fuzzer finds what it is there for."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

from pouw import _fastverify

if TYPE_CHECKING:
    from collections.abc import Callable


def _planted(kind: int) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        assert _library().pouw_planted(data, ctypes.c_size_t(len(data)), kind)

    return target


@functools.cache
def _library() -> ctypes.CDLL:
    """Return the extension as a library; only the fuzzer's build has the faults in it."""
    return ctypes.CDLL(_fastverify.__file__)


PLANTED = {"planted-read": _planted(0), "planted-overflow": _planted(1), "planted-assertion": _planted(2)}
