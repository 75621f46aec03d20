"""The reference for signatures is right by itself: against RFC 8032, PyNaCl, and the curve's equation."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from nacl import bindings
from nacl.exceptions import RuntimeError as SodiumError
from nacl.signing import SigningKey

from tests import ed25519
from tests.ed25519 import IDENTITY, D, L, P
from tests.rule_signers import SMALL_POINTS, any_scalar, any_torsion, commitment, encodings_near_p, from_seed, mixed

RFC_8032 = json.loads((Path(__file__).parent.parent / "data" / "rfc8032.json").read_text())


def add_affine(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    """Return the sum by the definition (RFC 8032, 5.1.4, first formulas)."""
    (x1, y1), (x2, y2) = left, right
    product = D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def points(rng: Random) -> list[ed25519.Point]:
    """Return points of every order that there is, equal and opposite ones among them."""
    some = [ed25519.multiply_base(any_scalar(rng)) for _ in range(4)]
    others = [ed25519.add(point, any_torsion(rng)) for point in some]
    return [*ed25519.torsion(), ed25519.BASE, *some, *others, *map(ed25519.negate, some)]


def test_addition_is_that_of_the_affine_law() -> None:
    rng = Random(1)
    for left in points(rng):
        for right in [*points(rng)[:12], left, ed25519.negate(left)]:
            total = ed25519.add(left, right)
            x, y = ed25519.affine(total)
            assert (x, y) == add_affine(ed25519.affine(left), ed25519.affine(right))
            assert (y * y - x * x - 1 - D * x * x * y * y) % P == 0
            assert total[3] * total[2] % P == total[0] * total[1] % P


def test_the_group_has_the_order_that_it_should() -> None:
    assert ed25519.is_of_prime_order(ed25519.BASE)
    assert len({ed25519.affine(point) for point in ed25519.torsion()}) == 8
    for index, point in enumerate(ed25519.torsion()):
        assert ed25519.is_small(point)
        assert not ed25519.is_of_prime_order(point)
        assert ed25519.equal(ed25519.multiply(index, ed25519.torsion()[1]), point)
        assert ed25519.is_of_prime_order(ed25519.add(ed25519.BASE, point)) == (index == 0)
    assert ed25519.equal(ed25519.multiply_fixed(L, ed25519.BASE_MULTIPLES), IDENTITY)


@pytest.mark.parametrize("scalar", [0, 1, 2, 15, 16, 17, L - 1, L, L + 1, 2**252, 2**256 - 1])
def test_both_multiplications_agree(scalar: int) -> None:
    for point in points(Random(2)):
        fixed = ed25519.multiply_fixed(scalar, ed25519.multiples_of(point))
        assert ed25519.equal(fixed, ed25519.multiply(scalar, point))


def test_arithmetic_is_that_of_libsodium() -> None:
    rng = Random(3)
    for _ in range(300):
        scalar, other = any_scalar(rng), any_scalar(rng)
        encoded = commitment(scalar)
        assert encoded == bindings.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))
        total = ed25519.add(ed25519.multiply_base(scalar), ed25519.multiply_base(other))
        assert ed25519.encode(total) == bindings.crypto_core_ed25519_add(encoded, commitment(other))


def test_keys_are_those_that_libsodium_calls_points() -> None:
    rng = Random(4)
    keys = [*SMALL_POINTS, *(each for group in encodings_near_p() for each in group)]
    keys += [mixed(any_scalar(rng), any_torsion(rng)) for _ in range(20)]
    keys += [commitment(any_scalar(rng)) for _ in range(20)] + [rng.randbytes(32) for _ in range(100)]
    for key in keys:
        assert ed25519.is_valid_key(key) == bindings.crypto_core_ed25519_is_valid_point(key), key.hex()


def test_decoding_takes_the_canonical_encoding_alone() -> None:
    assert len(SMALL_POINTS) == 14
    for point in points(Random(5)):
        canonical, *others = ed25519.encodings(point)
        assert ed25519.encode(point) == canonical
        decoded = ed25519.decode(canonical)
        assert decoded is not None
        assert ed25519.equal(decoded, point)
        assert [ed25519.decode(other) for other in others] == [None] * len(others)
    _points, others, beyond = encodings_near_p()
    assert len(beyond) == 38
    for encoding in others + beyond:
        assert ed25519.decode(encoding) is None
    for encoding in others:  # those beyond p are not asked: libsodium's addition reduces y
        with pytest.raises(SodiumError):
            bindings.crypto_core_ed25519_add(encoding, commitment(1))


@pytest.mark.parametrize("vector", RFC_8032, ids=lambda vector: vector["name"])
def test_rfc_8032(vector: dict[str, str]) -> None:
    seed, key, message, signature = (
        bytes.fromhex(vector[name]) for name in ("secret_key", "public_key", "message", "signature")
    )
    assert from_seed(seed).public == key
    assert ed25519.is_valid(message, signature, key)
    assert not ed25519.is_valid(message + b"!", signature, key)


def test_honest_signatures_and_every_flipped_bit() -> None:
    key = SigningKey(b"k" * 32)
    public, signature = bytes(key.verify_key), key.sign(b"useful work").signature
    assert ed25519.is_valid(b"useful work", signature, public)
    for bit in range(512):
        flipped = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
        assert not ed25519.is_valid(b"useful work", flipped, public)
