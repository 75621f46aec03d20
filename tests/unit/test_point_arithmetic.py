"""Points and hash of pouw/ed25519 alone, on every path, and its equation under weights that are chosen."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
from random import Random
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests import ed25519
from tests.ed25519 import IDENTITY, P
from tests.limbs import FIELDS, PORTABLE, Arithmetic, Job, compiled, job, limbs_of, point_of
from tests.rule_kinds import LENGTHS
from tests.rule_signers import SMALL_POINTS, any_scalar, encodings_near_p, from_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEED = 20_261_123
Case = TypeVar("Case")


@pytest.fixture(params=FIELDS, ids=lambda field: field.name)
def c(request: pytest.FixtureRequest) -> Arithmetic:
    return compiled(request.param)


def some_points(rng: Random) -> list[ed25519.Point]:
    plain = [ed25519.BASE, *(ed25519.multiply_base(any_scalar(rng)) for _ in range(4))]
    mixed = [ed25519.add(point, ed25519.torsion()[i + 1]) for i, point in enumerate(plain)]
    return [*ed25519.torsion(), *plain, *mixed, *map(ed25519.negate, plain)]


def side_by_side(c: Arithmetic, cases: Iterable[Case]) -> Iterator[tuple[Case, ...]]:
    """Go through cases, each of them in every place of a path's points beside another one."""
    rest = list(cases)
    for at in range(len(rest)):
        yield tuple(rest[(at + 7 * k) % len(rest)] for k in range(c.field.points))


def test_sums_of_points(c: Arithmetic) -> None:
    """Any two of them: equal, opposite, neutral, of small and of mixed order, in any representation."""
    rng = Random(SEED)
    for group in side_by_side(c, itertools.product(some_points(rng), repeat=2)):
        lefts, rights = [left for left, _right in group], [right for _left, right in group]
        for minus, seconds in enumerate((rights, [ed25519.negate(right) for right in rights])):
            out = c.points("add_points", limbs_of(rng, *lefts), limbs_of(rng, *rights), minus, count=len(group))
            for coordinates, left, second in zip(out, lefts, seconds, strict=True):
                assert ed25519.equal(point_of(coordinates), ed25519.add(left, second))


def test_doublings(c: Arithmetic) -> None:
    """T counts for nothing in what is doubled, and is not needed in the result."""
    rng = Random(SEED)
    for group in side_by_side(c, some_points(rng) * 8):
        limbs = limbs_of(rng, *[(*point[:3], rng.randrange(P)) for point in group])
        with_t = c.points("double", limbs, 1, count=len(group))
        without = c.points("double", limbs, 0, count=len(group))
        for point, coordinates, [x, y, z, _t] in zip(group, with_t, without, strict=True):
            twice = ed25519.add(point, point)
            assert ed25519.equal(point_of(coordinates), twice)
            assert ed25519.equal((PORTABLE.value(x), PORTABLE.value(y), PORTABLE.value(z), 0), twice)


def test_long_chains(c: Arithmetic) -> None:
    rng = Random(SEED)
    for group in side_by_side(c, itertools.islice(itertools.product(some_points(rng), repeat=2), 0, None, 7)):
        minus, times = rng.randrange(2), rng.randint(1, 60)
        lefts, rights = [left for left, _right in group], [right for _left, right in group]
        out = c.points("chain", limbs_of(rng, *lefts), limbs_of(rng, *rights), minus, times, count=len(group))
        for (p, q), coordinates in zip(group, out, strict=True):
            for _ in range(times):
                p = ed25519.add(ed25519.add(p, p), ed25519.negate(q) if minus else q)  # noqa: PLW2901 - the chain
                q = ed25519.add(q, q)  # noqa: PLW2901
            assert ed25519.equal(point_of(coordinates), p)


def test_points_side_by_side_are_added_up(c: Arithmetic) -> None:
    rng = Random(SEED)
    for group in side_by_side(c, some_points(rng) * 5):
        [out] = c.points("fold", limbs_of(rng, *group))
        assert ed25519.equal(point_of(out), functools.reduce(ed25519.add, group))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 31])
def test_any_number_of_terms_is_added_up(c: Arithmetic, count: int) -> None:
    rng = Random(SEED)
    for _ in range(8):
        terms, signs = rng.choices(some_points(rng), k=count), rng.choices((0, 1), k=count)
        [out] = c.points("add_terms", limbs_of(rng, *terms), (ctypes.c_int * count)(*signs), count)
        signed = [ed25519.negate(p) if minus else p for p, minus in zip(terms, signs, strict=True)]
        assert ed25519.equal(point_of(out), functools.reduce(ed25519.add, signed, IDENTITY))


def test_the_neutral_point_is_known_in_any_representation(c: Arithmetic) -> None:
    rng = Random(SEED)
    for first, *others in side_by_side(c, some_points(rng) * 10):
        known = c.library.test_is_identity(limbs_of(rng, first, *others))
        assert known == ed25519.equal(first, IDENTITY)


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


@pytest.mark.parametrize("size", [1, 4, 8, 64])
def test_tables_hold_odd_multiples(c: Arithmetic, size: int) -> None:
    rng = Random(SEED)
    points = (ed25519.BASE, ed25519.multiply_base(any_scalar(rng)), ed25519.torsion()[1])
    for group in side_by_side(c, points):
        multiples = c.points("odd_multiples", limbs_of(rng, *group), size, count=size * len(group))
        for at, coordinates in enumerate(multiples):
            i, k = divmod(at, len(group))
            assert ed25519.equal(point_of(coordinates), ed25519.multiply(2 * i + 1, group[k]))


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
