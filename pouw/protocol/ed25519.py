"""The acceptance rule for signatures in plain integers: slow, some 50 ms each, and short enough to check by eye.

It decides where two engines differ. Source: RFC 8032, sections 5.1.2, 5.1.3 and 5.1.7; docs/protocol.md has the rule.
Points are affine, (x, y) with -x^2 + y^2 = 1 + d x^2 y^2; its addition holds for any two points.
"""

from __future__ import annotations

import hashlib

from pouw.protocol.types import KEY_BYTES, SIGNATURE_BYTES

Point = tuple[int, int]

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, P) % P
_IDENTITY: Point = (0, 1)
_SIGN = 1 << 255


def is_valid(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether the 64-byte ``signature`` over ``message`` is valid under the 32-byte ``public_key``."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != KEY_BYTES:
        return False
    key, r = _decode(public_key), _decode(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key is None or key == _IDENTITY or _multiply(ORDER, key) != _IDENTITY:
        return False
    if s >= ORDER or r is None or _multiply(8, r) == _IDENTITY:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    return _multiply(8 * s, _BASE) == _multiply(8, _add(r, _multiply(h, key)))


def _add(left: Point, right: Point) -> Point:
    (x1, y1), (x2, y2) = left, right
    product = _D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def _multiply(times: int, point: Point) -> Point:
    total = _IDENTITY
    while times:
        if times & 1:
            total = _add(total, point)
        point = _add(point, point)
        times >>= 1
    return total


def _decode(encoded: bytes) -> Point | None:
    """Return the point that 32 bytes encode in the one canonical way, or None."""
    number = int.from_bytes(encoded, "little")
    y, odd = number % _SIGN, number // _SIGN
    square = (y * y - 1) * pow(_D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or y >= P or (x == 0 and odd):
        return None
    return (x if x % 2 == odd else P - x), y


def _base() -> Point:
    base = _decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert base is not None  # noqa: S101 - a constant of the curve
    return base


_BASE = _base()
