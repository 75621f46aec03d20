"""A length of time as an operator types it: 90s, 30m, 12h or 7d."""

from __future__ import annotations

import re
import time

import click

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration(text: str) -> int:
    """Return the seconds that a whole number and a unit stand for."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text, re.ASCII)
    if match is None:
        raise click.BadParameter("Write it as 90s, 30m, 12h or 7d.")
    return int(match[1]) * _UNITS[match[2]]


def after(seconds: int | None) -> float | None:
    """Return the moment so many seconds from now, as unix seconds."""
    return None if seconds is None else time.time() + seconds
