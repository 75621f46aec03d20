"""W3C trace context: what is taken over, and what is treated like none."""

from __future__ import annotations

import pytest

from pouw import tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", "01"),
        (f"00-{TRACE}-{SPAN}-00", "00"),
        (f"00-{TRACE}-{SPAN}-ff", "01"),  # flags that version 00 does not know are not passed on
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", "01"),
        (f"01-{TRACE}-{SPAN}-01", "01"),
    ],
)
def test_what_is_valid_is_taken_over(header: str, flags: str) -> None:
    assert tracing.parse(header) == tracing.Trace(TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.x",
    ],
)
def test_what_is_not_valid_is_treated_like_none(header: str | None) -> None:
    assert tracing.parse(header) is None


def test_the_answer_names_the_callers_trace_and_a_span_of_its_own() -> None:
    tracing.begin(f"00-{TRACE}-{SPAN}-01", "somewhere")
    found = tracing.current()
    assert found is not None
    assert tracing.parse(found.header()) == tracing.Trace(TRACE, found.span_id, "01")
    assert found.span_id != SPAN
    tracing.begin(None, "somewhere else")
    assert tracing.current() is None
