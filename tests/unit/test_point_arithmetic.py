"""Points and hash of pouw/ed25519 alone, on every path, and its equation under weights that are chosen."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
from random import Random

import pytest

from tests import ed25519
from tests.ed25519 import IDENTITY, P
from tests.limbs import FIELDS, PORTABLE, Arithmetic, Job, compiled, job, limbs_of, point_of
from tests.rule_kinds import LENGTHS
from tests.rule_signers import SMALL_POINTS, any_scalar, encodings_near_p, from_seed

SEED = 20_261_123


@pytest.fixture(params=FIELDS, ids=lambda field: field.name)
def c(request: pytest.FixtureRequest) -> Arithmetic:
    return compiled(request.param)


def some_points(rng: Random) -> list[ed25519.Point]:
    plain = [ed25519.BASE, *(ed25519.multiply_base(any_scalar(rng)) for _ in range(4))]
    mixed = [ed25519.add(point, ed25519.torsion()[i + 1]) for i, point in enumerate(plain)]
    return [*ed25519.torsion(), *plain, *mixed, *map(ed25519.negate, plain)]


def test_sums_of_points(c: Arithmetic) -> None:
    """Any two of them: equal, opposite, neutral, of small and of mixed order, in any representation."""
    rng = Random(SEED)
    for left, right in itertools.product(some_points(rng), repeat=2):
        for minus, second in enumerate((right, ed25519.negate(right))):
            [out] = c.points("add_points", limbs_of(left, rng), limbs_of(right, rng), minus)
            assert ed25519.equal(point_of(out), ed25519.add(left, second))


def test_doublings(c: Arithmetic) -> None:
    """T counts for nothing in what is doubled, and is not needed in the result."""
    rng = Random(SEED)
    for point in some_points(rng) * 8:
        twice = ed25519.add(point, point)
        limbs = limbs_of((*point[:3], rng.randrange(P)), rng)
        [out] = c.points("double", limbs, 1)
        assert ed25519.equal(point_of(out), twice)
        [[x, y, z, _t]] = c.points("double", limbs, 0)
        without_t = (PORTABLE.value(x), PORTABLE.value(y), PORTABLE.value(z), 0)
        assert ed25519.equal(without_t, twice)


def test_long_chains(c: Arithmetic) -> None:
    rng = Random(SEED)
    for left, right in itertools.islice(itertools.product(some_points(rng), repeat=2), 0, None, 7):
        minus, times = rng.randrange(2), rng.randint(1, 60)
        p, q = left, right
        for _ in range(times):
            p, q = ed25519.add(ed25519.add(p, p), ed25519.negate(q) if minus else q), ed25519.add(q, q)
        [out] = c.points("chain", limbs_of(left, rng), limbs_of(right, rng), minus, times)
        assert ed25519.equal(point_of(out), p)


def test_the_neutral_point_is_known_in_any_representation(c: Arithmetic) -> None:
    rng = Random(SEED)
    for point in some_points(rng) * 10:
        assert c.library.test_is_identity(limbs_of(point, rng)) == ed25519.equal(point, IDENTITY)


def test_points_are_decoded(c: Arithmetic) -> None:
    rng = Random(SEED)
    encodings = [*SMALL_POINTS, *itertools.chain(*encodings_near_p())]
    encodings += [ed25519.encode(point) for point in some_points(rng)] + [rng.randbytes(32) for _ in range(300)]
    encodings += [y.to_bytes(32, "little") for y in range(40)]
    for at in range(len(encodings)):
        group = [encodings[(at + lane * lane) % len(encodings)] for lane in range(c.field.lanes)]
        good = (ctypes.c_int * c.field.lanes)()
        out = c.points("decode_points", good, b"".join(group), count=c.field.lanes)
        for encoding, found, coordinates in zip(group, good, out, strict=True):
            point = ed25519.decode(encoding)
            assert (found != 0) == (point is not None)
            assert point is None or ed25519.equal(point_of(coordinates), point)


@pytest.mark.parametrize("size", [1, 4, 16, 64])
def test_tables_hold_odd_multiples(c: Arithmetic, size: int) -> None:
    rng = Random(SEED)
    for point in (ed25519.BASE, ed25519.multiply_base(any_scalar(rng)), ed25519.torsion()[1]):
        for i, coordinates in enumerate(c.points("odd_multiples", limbs_of(point, rng), size, count=size)):
            assert ed25519.equal(point_of(coordinates), ed25519.multiply(2 * i + 1, point))


def test_hashes_of_messages_of_any_length_beside_each_other(c: Arithmetic) -> None:
    rng, key = Random(SEED), b"k" * 32
    sizes = [*range(400), *LENGTHS, 5000]
    for _ in range(3):
        rng.shuffle(sizes)
        for at in range(0, len(sizes) - c.field.lanes, c.field.lanes):
            signed = [(rng.randbytes(size), rng.randbytes(64)) for size in sizes[at : at + c.field.lanes]]
            out = ctypes.create_string_buffer(64 * c.field.lanes)
            c.library.test_hash(out, (Job * c.field.lanes)(*itertools.starmap(job, signed)), key)
            expected = [hashlib.sha512(signature[:32] + key + message).digest() for message, signature in signed]
            assert [out.raw[i : i + 64] for i in range(0, len(out.raw), 64)] == expected


def test_small_order_is_seen_in_either_sign() -> None:
    known = compiled(PORTABLE).library.test_small_order
    ys = {int.from_bytes(data, "little") % 2**255 for data in SMALL_POINTS}
    small = {y for y in ys if y < P}
    assert len(small) == 5
    for y, sign in itertools.product(small, (0, 1 << 255)):
        assert known((y | sign).to_bytes(32, "little"))
        for bit in range(255):
            other = y ^ 1 << bit
            assert known((other | sign).to_bytes(32, "little")) == (other in small)


SIGNER = from_seed(b"s" * 32)
EDGES = [1, 2, 3, 2**64 - 1, 2**64, 2**64 + 1, 2**127, 2**127 - 1, 2**128 - 1, 2**128 - 2, (2**128 - 1) // 3]


def some_weights(rng: Random, count: int) -> list[list[int]]:
    """Return weights as a generator that is out of its mind might draw them."""
    return [
        *([edge] * count for edge in EDGES),
        [EDGES[i % len(EDGES)] for i in range(count)],
        [1 << i % 128 for i in range(count)],
        [(1 << i % 128 + 1) - 1 for i in range(count)],
        *([rng.getrandbits(128) or 1 for _ in range(count)] for _ in range(4)),
    ]


@pytest.mark.parametrize("size", [2, 3, 17, 127, 128, 129, 258])
def test_honest_signatures_are_valid_under_any_weights(c: Arithmetic, size: int) -> None:
    rng = Random(SEED)
    signed = [(b"%d" % i, SIGNER.sign(b"%d" % i)) for i in range(size)]
    for weights in [[0] * size, *some_weights(rng, size)]:
        assert c.verify(signed, SIGNER.public, weights) == b"\1" * size
        bad = rng.randrange(size)
        changed = [*signed[:bad], (b"changed", signed[bad][1]), *signed[bad + 1 :]]
        if 0 not in weights:
            assert c.verify(changed, SIGNER.public, weights) == b"\1" * bad + b"\0" + b"\1" * (size - bad - 1)


def test_every_bit_of_a_weight_counts(c: Arithmetic) -> None:
    """Errors that cancel under the weights drawn, and only they, pass: an engine that used others would refuse them.

    So nothing but the weights' being unforeseeable keeps such pairs out, and all 128 bits of them do.
    """
    rng = Random(SEED)
    for weights in some_weights(rng, 9):
        first, second = rng.sample(range(9), 2)
        error = any_scalar(rng)
        errors = {first: error * weights[second], second: -error * weights[first]}
        signed = [(b"%d" % i, SIGNER.forge(b"%d" % i, i + 1, error=errors.get(i, 0))) for i in range(9)]
        assert c.verify(signed, SIGNER.public, weights) == b"\1" * 9
        for bit in (0, 1, 63, 64, 126, 127):
            other = list(weights)
            other[first] ^= 1 << bit
            assert not other[first] or c.verify(signed, SIGNER.public, other) == bytes(
                i not in errors for i in range(9)
            )


def test_each_weight_has_128_random_bits_of_its_own(c: Arithmetic) -> None:
    signed = [(b"%d" % i, SIGNER.sign(b"%d" % i)) for i in range(300)]
    for size, drawn in {1: 0, 2: 32, 128: 2048, 129: 2048, 130: 2080, 300: 4800}.items():
        c.drawn = 0
        assert c.verify(signed[:size], SIGNER.public, [2**128 - 1] * size) == b"\1" * size
        assert c.drawn == drawn
