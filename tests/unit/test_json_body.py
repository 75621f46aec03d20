"""Bodies from strangers: strict, bounded, clear."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.errors import BodyError
from pouw.web import json_body


def kind(body: bytes, max_items: int = 100) -> str:
    with pytest.raises(BodyError) as caught:
        json_body.load(body, max_items)
    return caught.value.kind


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 01}',
        b"{'a': 1}",
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b'{"a": "\n"}',
        b'"open',
    ],
)
def test_what_is_not_strict_json(body: bytes) -> None:
    assert kind(body) == "not-json"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": [[{"b": 1, "\\u0062": 2}]]}',
        b'{"receipts": [{"receipt": {"x": ":", "x": 1}}]}',
    ],
)
def test_a_repeated_member_is_refused_at_any_depth(body: bytes) -> None:
    assert kind(body) == "duplicate-member"


def test_deep_nesting_is_refused() -> None:
    assert kind(b"[" * 1000 + b"]" * 1000) == "json-too-deep"
    assert kind(b'{"a":' * 1_000_000) == "json-too-deep"


def test_a_million_values_are_refused_before_they_are_built() -> None:
    assert kind(b"[" + b"{}," * 999_999 + b"{}]") == "too-many-values"
    assert kind(b"[" + b"1," * 999_999 + b"1]") == "too-many-values"


def test_a_full_batch_of_the_largest_receipts_passes() -> None:
    receipt = {f"member {number}": number for number in range(14)}
    item = {"receipt": receipt | {"aux": {"a": 1, "b": 2, "c": 3}}, "sig_scheme": "", "signature": ""}
    assert len(json_body.load(json.dumps({"receipts": [item] * 100}).encode(), 100)["receipts"]) == 100


@pytest.mark.parametrize("number", ["1" * 21, "9" * 5000, "-" + "1" * 30, "0." + "3" * 40])
def test_a_number_that_no_field_can_hold_is_refused(number: str) -> None:
    assert kind(b'{"a": ' + number.encode() + b"}") == "number-too-long"


def test_long_digits_in_a_string_are_a_string() -> None:
    assert json_body.load(b'{"a": "' + b"1" * 64 + b'"}', 1) == {"a": "1" * 64}


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_strict_json_is_read_as_it_was_meant(value: Any) -> None:
    assert json_body.load(json.dumps(value).encode(), 10) == value


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        json_body.load(data, 10)
    except BodyError as error:
        assert str(error)  # noqa: PT017 - both ends are right
