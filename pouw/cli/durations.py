"""Times as an operator types them: a length such as 90s, 30m, 12h or 7d, or a moment."""

from __future__ import annotations

import re
import time
from datetime import datetime

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


def moment(text: str) -> float:
    """Return the unix seconds of a moment: a length of time from now on, or RFC 3339 with its offset from UTC."""
    try:
        return time.time() + duration(text)
    except click.BadParameter:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:  # an hour that means another one elsewhere
        raise click.BadParameter("Write it as 90s, 30m, 12h or 7d, or as 2026-12-31T23:30Z.")
    return at.timestamp()
