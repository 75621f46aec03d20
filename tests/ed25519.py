"""The acceptance rule for Ed25519 signatures in Python's integers: slow, plain, and nothing shared with the C.

Written from RFC 8032, section 5.1. The curve is -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo P. A point is held
as (X, Y, Z, T) with x = X/Z, y = Y/Z and xy = T/Z. No part of this is fit for secrets.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache

Point = tuple[int, int, int, int]
Multiples = list[list[Point]]

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
IDENTITY: Point = (0, 1, 1, 0)
SIGNATURE_BYTES, KEY_BYTES = 64, 32


def add(left: Point, right: Point) -> Point:
    """Return the sum of any two points (RFC 8032, 5.1.4: the formulas are complete)."""
    x1, y1, z1, t1 = left
    x2, y2, z2, t2 = right
    a = (y1 - x1) * (y2 - x2) % P
    b = (y1 + x1) * (y2 + x2) % P
    c = 2 * D * t1 % P * t2 % P
    d = 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def negate(point: Point) -> Point:
    x, y, z, t = point
    return (-x % P, y, z, -t % P)


def equal(left: Point, right: Point) -> bool:
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def multiply(scalar: int, point: Point) -> Point:
    """Return the multiple of a point of any order; the scalar is not reduced."""
    total = IDENTITY
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def times_8(point: Point) -> Point:
    return multiply(8, point)


def is_small(point: Point) -> bool:
    """Whether the point is one of the eight whose order divides the cofactor."""
    return equal(times_8(point), IDENTITY)


def is_of_prime_order(point: Point) -> bool:
    return not equal(point, IDENTITY) and equal(multiply(L, point), IDENTITY)


def affine(point: Point) -> tuple[int, int]:
    inverse = pow(point[2], -1, P)
    return point[0] * inverse % P, point[1] * inverse % P


def encode(point: Point) -> bytes:
    """Return the canonical encoding (5.1.2): y in 255 bits, and above it whether x is odd."""
    x, y = affine(point)
    return (y | (x & 1) << 255).to_bytes(32, "little")


def encodings(point: Point) -> list[bytes]:
    """Return every 32 bytes that a decoder without checks takes for this point, the canonical ones first."""
    x, y = affine(point)
    signs = [x & 1] if x else [0, 1]
    return [(each | sign << 255).to_bytes(32, "little") for each in (y, y + P) if each < 2**255 for sign in signs]


def decode(data: bytes) -> Point | None:
    """Return the point that 32 bytes encode canonically (5.1.3), or None."""
    if len(data) != KEY_BYTES:
        return None
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= P:
        return None
    x = square_root_of_quotient(y * y - 1, D * y * y + 1)
    if x is None or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def square_root_of_quotient(u: int, v: int) -> int | None:
    """Return a root of u/v, or None where it is no square (5.1.3, steps 2 and 3)."""
    root = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    for candidate in (root, root * SQRT_MINUS_1 % P):
        if (v * candidate * candidate - u) % P == 0:
            return candidate
    return None


def _base() -> Point:
    """Return B, the point with y = 4/5 and an even x."""
    point = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert point is not None
    return point


BASE = _base()


@cache
def torsion() -> list[Point]:
    """Return the points of small order: the i-th is i times a point of order 8."""
    y = 2
    while True:
        point = decode(y.to_bytes(32, "little"))
        if point is not None:
            generator = multiply(L, point)  # nothing of prime order is left
            if not equal(multiply(4, generator), IDENTITY):
                return [multiply(i, generator) for i in range(8)]
        y += 1


def multiples_of(point: Point, window: int = 4) -> Multiples:
    """Return 0 to 2^window - 1 times (2^window)^i times a point, for each i that a scalar of 256 bits needs."""
    rows = []
    for _ in range(256 // window):
        row = [IDENTITY]
        for _ in range((1 << window) - 1):
            row.append(add(row[-1], point))
        rows.append(row)
        point = add(row[-1], point)
    return rows


def multiply_fixed(scalar: int, multiples: Multiples) -> Point:
    """Return a multiple by additions only, for a point that many scalars meet."""
    total = IDENTITY
    for row in multiples:
        scalar, digit = divmod(scalar, len(row))
        if digit:
            total = add(total, row[digit])
    return total


BASE_MULTIPLES = multiples_of(BASE, window=8)


def multiply_base(scalar: int) -> Point:
    return multiply_fixed(scalar % L, BASE_MULTIPLES)


@lru_cache(maxsize=64)
def _accepted_key(key: bytes) -> Multiples | None:
    """Return multiples of a good key's negative; None for a key that no signature is valid under."""
    point = decode(key)
    if point is None or not is_of_prime_order(point):
        return None
    return multiples_of(negate(point))


def is_valid_key(key: bytes) -> bool:
    return _accepted_key(key) is not None


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    """Return h of RFC 8032, 5.1.7, step 2."""
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def is_valid(message: bytes, signature: bytes, key: bytes) -> bool:
    """Say whether promise 4's rule accepts a signature: the node's answer, whatever its engine."""
    minus_key = _accepted_key(key)
    if minus_key is None or len(signature) != SIGNATURE_BYTES:
        return False
    r, s = decode(signature[:32]), int.from_bytes(signature[32:], "little")
    if s >= L or r is None or is_small(r):
        return False
    h = challenge(signature[:32], key, message)
    error = add(add(multiply_base(s), multiply_fixed(h, minus_key)), negate(r))
    return equal(times_8(error), IDENTITY)
