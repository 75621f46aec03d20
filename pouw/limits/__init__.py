"""Quota rules: what a client counts on, and the arithmetic of a sliding window; no storage and no Flask.

A window is counted as `limits` does it ("sliding window counter"): what the window before took still counts, by the
share of it that lies within the last 60 seconds.
"""

from __future__ import annotations

import functools
import ipaddress
import math
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerMinute

IP_SCOPE = "IP"
DID_SCOPE = "DID"
WINDOW_SECS = 60

_IPV6_PREFIX = 64
"""What one subscriber of IPv6 gets at least; a single address would be no limit at all."""


class Window(NamedTuple):
    """The requests of the window before, of the present one, and the seconds that are left of the latter."""

    previous: int
    current: int
    left: float

    @property
    def used(self) -> int:
        """How many requests count now."""
        return math.floor(self.previous * self.left / WINDOW_SECS) + self.current

    def wait_for_one(self, limit: int) -> float:
        """Return the seconds after which one more request counts less than now and is below ``limit``.

        Where nothing counts there is nothing to wait for: do not ask then.
        """
        if limit == 0:
            return float(WINDOW_SECS)
        aim = min(limit, self.used)  # the counted requests have to fall below this
        if aim > self.current:
            return max(0.0, self.left - (aim - self.current) * WINDOW_SECS / self.previous)
        return self.left + max(0.0, WINDOW_SECS - aim * WINDOW_SECS / self.current)


class Standing(NamedTuple):
    """Where a client stands with one limit. ``reset`` is the seconds until more than ``remaining`` is there."""

    scope: str
    limit: int
    remaining: int
    reset: int


def standing(scope: str, limit: int, window: Window) -> Standing:
    """Return where a client stands whose window this is."""
    unused = window.used == 0 < limit
    # At that very moment the share is still counted, so a client waits into the next second.
    reset = 0 if unused else math.floor(window.wait_for_one(limit)) + 1
    return Standing(scope, limit, max(0, limit - window.used), reset)


def per_minute(amount: int) -> RateLimitItem:
    """Return the rule of ``amount`` requests a minute."""
    return RateLimitItemPerMinute(amount)


@functools.lru_cache(maxsize=4_096)
def ip_key(address: str | None) -> str:
    """Return what one client counts on: the IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "local"  # a Unix socket has no peer address
    if parsed.version == 4:  # noqa: PLR2004 - the version's name
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
