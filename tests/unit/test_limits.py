"""Limits as arithmetic: what counts, what is left, and when there is more."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.errors import AccessError
from pouw.limits import WINDOW_SECS, Window, ip_key, standing
from pouw.service.access import Networks, parse_subject

windows = st.builds(
    Window,
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(1, WINDOW_SECS * 1000).map(lambda milliseconds: milliseconds / 1000),
)


def later(window: Window, seconds: float) -> Window:
    """Return the window as it is so many seconds later, if nobody asks for anything."""
    left = window.left - seconds
    if left > 0:
        return Window(window.previous, window.current, left)
    if left > -WINDOW_SECS:
        return Window(window.current, 0, left + WINDOW_SECS)
    return Window(0, 0, WINDOW_SECS)


@given(windows, st.integers(1, 600))
def test_after_the_reset_one_more_is_there_and_a_second_before_it_is_not(window: Window, limit: int) -> None:
    now = standing("IP", limit, window)
    if now.reset == 0:
        assert window.used == 0
        return
    then = standing("IP", limit, later(window, now.reset))
    assert then.remaining > now.remaining or then.remaining == limit
    if now.reset > 1:
        assert standing("IP", limit, later(window, now.reset - 1 - 0.001)).remaining <= now.remaining


@given(windows, st.integers(0, 600))
def test_what_remains_is_what_may_still_be_spent(window: Window, limit: int) -> None:
    remaining = standing("IP", limit, window).remaining
    assert remaining == max(0, limit - math.floor(window.previous * window.left / WINDOW_SECS) - window.current)


def test_a_limit_of_nothing_never_opens() -> None:
    assert standing("DID", 0, Window(0, 0, 60.0)).remaining == 0
    assert standing("DID", 0, Window(0, 0, 60.0)).reset == WINDOW_SECS + 1


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "local"),
        (None, "local"),
        ("unknown", "local"),
    ],
)
def test_what_an_address_counts_on(address: str | None, key: str) -> None:
    assert ip_key(address) == key


def test_the_narrowest_network_decides() -> None:
    book = Networks([(parse_subject(text), value) for value, text in enumerate(NETWORKS)])  # type: ignore[misc]
    assert book.find("10.1.2.3") == 2
    assert book.find("10.1.9.9") == 1
    assert book.find("10.9.9.9") == 0
    assert book.find("11.0.0.1") is None
    assert book.find("::ffff:10.1.2.3") == 2
    assert book.find("2001:db8::1") == 3
    assert book.find("2001:db9::1") is None
    for nothing in (None, "", "local", "10.1.2"):
        assert book.find(nothing) is None


NETWORKS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32"]


@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.0/7", "::/0", "2001::/15", "10.1.2.3/8", "nobody", "", "did:"])
def test_what_nobody_may_block(text: str) -> None:
    """Everybody at once, a network with bits beside its prefix, and what is neither DID nor address."""
    with pytest.raises(AccessError):
        parse_subject(text)
