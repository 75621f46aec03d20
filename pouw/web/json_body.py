"""Reading JSON from strangers: strict, bounded, and without a surprise.

A scan in C measures the text first, so that no parser ever builds more than a legal batch could hold. The
parser is orjson, which takes RFC 8259 and nothing else: no NaN, no lone surrogates, no second value.
"""

from __future__ import annotations

from typing import Any

import orjson

from pouw._fastverify import count_members, scan_json
from pouw.errors import BodyError

_MAX_DEPTH = 16  # a batch nests five deep
_MAX_DIGITS = 20  # as many as 2^64 has
_SPARE_VALUES = 64
_VALUES_PER_ITEM = 32  # a receipt with everything has 20 members


def load(body: bytes, max_items: int) -> Any:
    """Decode a JSON body that holds a list of at most ``max_items`` objects.

    Raises :class:`BodyError` for anything that is not strict JSON, repeats a member's name, nests too deep,
    writes a longer number than any field can hold, or has far more values than so many items can have.
    """
    members, values, depth, digits = scan_json(body)
    if depth > _MAX_DEPTH:
        raise BodyError("json-too-deep", f"The JSON nests more than {_MAX_DEPTH} deep.")
    if values > _SPARE_VALUES + _VALUES_PER_ITEM * max_items:
        raise BodyError("too-many-values", f"The JSON holds more than {max_items} receipts can have.", "/receipts")
    if digits > _MAX_DIGITS:
        raise BodyError("number-too-long", f"A number in the JSON has more than {_MAX_DIGITS} digits.")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BodyError("not-json", f"The body is not JSON: {error.msg} (byte {error.pos}).") from None
    if count_members(value) != members:
        raise BodyError("duplicate-member", "An object in the JSON has two members of the same name.")
    return value
