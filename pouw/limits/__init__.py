"""Quota rules and keys: plain arithmetic and names, no storage and no Flask."""

from __future__ import annotations

import ipaddress

from limits import RateLimitItem, RateLimitItemPerMinute

IP_SCOPE = "IP"
DID_SCOPE = "DID"

_IPV6_PREFIX = 64
"""What one subscriber of IPv6 gets at least; a single address would be no limit at all."""


def per_minute(amount: int) -> RateLimitItem:
    """Return the rule of ``amount`` requests in any 60 seconds."""
    return RateLimitItemPerMinute(amount)


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
