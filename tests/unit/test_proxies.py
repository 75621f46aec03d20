"""Who the client is: forwarded headers count only from proxies that are trusted."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from pouw.web.proxies import TrustedProxies

PROXIES = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "2001:db8:1::/48"))


def client(peer: str, **headers: str) -> tuple[str, str]:
    """Return the address and the scheme that the application sees."""
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        seen.update(environ)
        return []

    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http"} | {
        f"HTTP_{name}": text for name, text in headers.items()
    }
    TrustedProxies(application, PROXIES)(environ, print)
    return seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),  # a stranger's header
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),  # two proxies of ours
        ("10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"),  # what the client wrote itself
        ("10.0.0.1", "10.9.9.9, 203.0.113.9", "203.0.113.9"),  # the client calls itself one of ours
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),  # somebody inside
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "nonsense, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:4711", "10.0.0.1"),  # a port is no address
        ("::ffff:10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("2001:db8:1::1", "2001:db8:2::7", "2001:db8:2::7"),
        ("", "203.0.113.9", ""),  # a Unix socket
    ],
)
def test_the_last_address_that_no_proxy_of_ours_has_is_the_client(peer: str, forwarded: str, expected: str) -> None:
    assert client(peer, X_FORWARDED_FOR=forwarded)[0] == expected


def test_only_a_trusted_proxy_says_which_scheme_the_client_used() -> None:
    assert client("10.0.0.1", X_FORWARDED_PROTO="https")[1] == "https"
    assert client("10.0.0.1", X_FORWARDED_PROTO="gopher")[1] == "http"
    assert client("192.0.2.1", X_FORWARDED_PROTO="https")[1] == "http"


def test_other_headers_of_the_kind_change_nothing() -> None:
    others = {"X_REAL_IP": "203.0.113.9", "FORWARDED": "for=203.0.113.9", "X_CLIENT_IP": "203.0.113.9"}
    assert client("10.0.0.1", **others) == ("10.0.0.1", "http")
    assert client("192.0.2.1", **others) == ("192.0.2.1", "http")
