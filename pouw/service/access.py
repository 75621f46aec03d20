"""Who is kept out, and whose quota is another than the usual one: set by operators, asked by every request."""

from __future__ import annotations

import datetime as dt
import ipaddress
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pouw.errors import AccessError
from pouw.protocol.dids import is_did
from pouw.service.fresh import Fresh
from pouw.store import access as store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pouw.store.access import Network
    from pouw.store.pool import Pool

V = TypeVar("V")

_FRESH_SECS = 1.0
_WIDEST = {4: 8, 6: 16}  # bits of the shortest prefix: a slip of the hand must not lock everybody out
_REASON_CHARACTERS = range(1, 501)
_MOST_PER_MINUTE = 10**9


class Networks(Generic[V]):
    """Values by network; the narrowest network that holds an address decides, in one look-up for each width."""

    def __init__(self, values: Iterable[tuple[Network, V]]) -> None:
        self._by_width: dict[tuple[int, int], dict[int, V]] = {}
        for network, value in values:
            width = (network.version, network.max_prefixlen - network.prefixlen)
            self._by_width.setdefault(width, {})[int(network.network_address) >> width[1]] = value
        self._widths = sorted(self._by_width, key=lambda width: width[1])

    def find(self, address: str | None) -> V | None:
        """Return the value of the narrowest network that holds this address."""
        if not self._widths:
            return None
        try:
            parsed = ipaddress.ip_address((address or "").partition("%")[0])
        except ValueError:
            return None
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        for width in self._widths:
            if width[0] == parsed.version:
                value = self._by_width[width].get(int(parsed) >> width[1])
                if value is not None:
                    return value
        return None


@dataclass(frozen=True, slots=True)
class _Book:
    blocked: Networks[bool]
    quotas: Networks[int]
    did_quotas: dict[str, int]


class Access:
    """Blocks and overrides. What an operator sets here is in force on every node within about a second."""

    def __init__(self, pool: Pool, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._book = Fresh(self._read, seconds=_FRESH_SECS, timer=timer)

    def _read(self) -> _Book:
        rules = store.rules(self._pool)
        blocked = Networks((network, True) for network in rules.blocked_networks)
        return _Book(blocked, Networks(rules.network_quotas.items()), rules.did_quotas)

    def blocks_address(self, address: str | None) -> bool:
        """Whether requests from this address are refused."""
        return self._book.get().blocked.find(address) is not None

    def ip_quota(self, address: str | None) -> int | None:
        """Return the requests a minute of this address, where they are other than usual."""
        return self._book.get().quotas.find(address)

    def did_quota(self, did: str) -> int | None:
        """Return the requests a minute of this DID, where they are other than usual."""
        return self._book.get().did_quotas.get(did)

    def block(self, subject: str, reason: str, actor: str, expires_at: float | None) -> None:
        """Keep a DID or a network out. Raises :class:`AccessError` for what is neither, or has no reason."""
        store.block(self._pool, parse_subject(subject), check_reason(reason), actor, check_expiry(expires_at))

    def lift_block(self, subject: str, actor: str) -> bool:
        """Let a DID or a network in again; False where it was not blocked."""
        return store.lift_block(self._pool, parse_subject(subject), actor)

    def blocks(self) -> list[store.Block]:
        """Return every block in force."""
        return store.blocks(self._pool)

    def set_quota(self, subject: str, per_minute: int, reason: str, actor: str, expires_at: float) -> None:
        """Give a DID or a network its own quota until ``expires_at`` (unix seconds). Raises :class:`AccessError`."""
        if not 0 <= per_minute <= _MOST_PER_MINUTE:
            raise AccessError(f"A quota is 0 to {_MOST_PER_MINUTE} requests a minute.")
        moment = check_expiry(expires_at)
        assert moment is not None  # noqa: S101 - for the type checker: a moment was given
        store.set_quota(self._pool, parse_subject(subject), per_minute, check_reason(reason), actor, moment)

    def lift_quota(self, subject: str, actor: str) -> bool:
        """Take a DID's or a network's own quota away; False where it has none."""
        return store.lift_quota(self._pool, parse_subject(subject), actor)

    def quotas(self) -> list[store.Override]:
        """Return every override in force."""
        return store.quotas(self._pool)


def parse_subject(text: str) -> str | Network:
    """Read a DID, an IP address, or a network in CIDR notation (RFC 4632); raise :class:`AccessError` for others."""
    if is_did(text):
        return text
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise AccessError("Name a DID, an IP address, or a network such as 203.0.113.0/24 or 2001:db8::/48.") from None
    if network.prefixlen < _WIDEST[network.version]:
        raise AccessError(f"A network of IPv{network.version} has at least /{_WIDEST[network.version]}.")
    return network


def check_reason(text: str) -> str:
    """Return an operator's reason; raise :class:`AccessError` where it is none."""
    if len(text) not in _REASON_CHARACTERS or not text.isprintable() or not text.strip():
        raise AccessError("Give a reason of 1 to 500 printable characters.")
    return text


def check_expiry(seconds: float | None) -> dt.datetime | None:
    """Return unix seconds as a time; raise :class:`AccessError` where it has passed already."""
    if seconds is None:
        return None
    if seconds <= time.time():
        raise AccessError("The expiry lies in the past.")
    try:
        return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise AccessError("The expiry is no time of this era.") from None
