"""Who the client is: the peer of the connection, or whom a trusted proxy names."""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Network, IPv6Network

_SCHEMES = {"http", "https"}


class TrustedProxies:
    """WSGI middleware that believes ``X-Forwarded-For`` and ``X-Forwarded-Proto`` of trusted proxies only.

    The list is read from its end: what stands before the last proxy that we trust was written by strangers. Every
    other header of the kind (``X-Real-IP``, ``Forwarded``, ``X-Forwarded-Host`` …) is ignored.
    """

    def __init__(
        self, application: Callable[..., Iterable[bytes]], networks: tuple[IPv4Network | IPv6Network, ...]
    ) -> None:
        self._application = application
        self._networks = networks

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Name the client in ``REMOTE_ADDR`` and go on."""
        peer = _address(environ.get("REMOTE_ADDR", ""))
        if peer is not None and self._trusts(peer):
            environ["REMOTE_ADDR"] = str(self._client(peer, environ.get("HTTP_X_FORWARDED_FOR", "")))
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").strip().lower()
            if scheme in _SCHEMES:
                environ["wsgi.url_scheme"] = scheme
        return self._application(environ, start_response)

    def _client(self, peer: _Address, forwarded: str) -> _Address:
        """Walk from the peer towards the client, as long as each one is trusted."""
        client = peer
        for text in reversed(forwarded.split(",")):
            address = _address(text)
            if address is None:
                return client  # what it says cannot be read: the one who said it is as far as we know
            client = address
            if not self._trusts(client):
                return client
        return client

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@functools.lru_cache(maxsize=4_096)
def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
