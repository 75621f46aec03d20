"""Field and scalars of pouw/ed25519 alone, against Python's integers, with limbs at their bounds."""

from __future__ import annotations

import ctypes
import itertools
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ed25519 import L, P
from tests.limbs import FIELDS, IFMA, PORTABLE, WIDE, Arithmetic, Field, Limbs, compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20_261_123


@pytest.fixture(params=FIELDS, ids=lambda field: field.name)
def c(request: pytest.FixtureRequest) -> Arithmetic:
    return compiled(request.param)


@pytest.fixture
def portable() -> Arithmetic:
    return compiled(PORTABLE)


@pytest.fixture(params=WIDE, ids=lambda field: field.name)
def wide(request: pytest.FixtureRequest) -> Arithmetic:
    return compiled(request.param)


def in_lanes(field: Field, cases: list[Limbs]) -> Iterator[list[Limbs]]:
    """Go through cases, each of them in every lane beside different ones."""
    for at in range(len(cases)):
        yield [cases[(at + lane * lane) % len(cases)] for lane in range(field.lanes)]


def check(field: Field, out: list[Limbs], expected: list[int]) -> None:
    assert all(map(field.is_tight, out))
    assert [field.value(limbs) % P for limbs in out] == [value % P for value in expected]


def check_products(c: Arithmetic, left: list[Limbs], right: list[Limbs]) -> None:
    field = c.field
    a, b = [field.value(limbs) for limbs in left], [field.value(limbs) for limbs in right]
    check(field, c.call("mul", left, right), [x * y for x, y in zip(a, b, strict=True)])
    check(field, c.call("sq", left), [x * x for x in a])


def test_products_of_limbs_at_their_bounds(c: Arithmetic) -> None:
    rng = Random(SEED)
    cases = list(in_lanes(c.field, c.field.edges(c.field.loose, rng)))
    for left, right in itertools.product(cases, cases[::3] + cases[:3]):
        check_products(c, left, right)


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_products_of_any_limbs(c: Arithmetic, data: st.DataObject) -> None:
    limbs = st.tuples(*(st.integers(0, bound - 1) for bound in c.field.loose)).map(list)
    left, right = (data.draw(st.lists(limbs, min_size=c.field.lanes, max_size=c.field.lanes)) for _ in range(2))
    check_products(c, left, right)


def test_sums_and_differences(c: Arithmetic) -> None:
    """What they take is tight; in portable C, what is taken away may be as large as 4p, limb by limb.

    What comes out can be multiplied, or else, with IFMA, made tight: there the points' formulas do that each time.
    """
    field, rng = c.field, Random(SEED)
    taken = (2**53 - 75, *(2**53 - 3,) * 4) if field is PORTABLE else field.tight
    lefts, rights = list(in_lanes(field, field.edges(field.tight, rng))), list(in_lanes(field, field.edges(taken, rng)))
    for left, right in itertools.product(lefts, rights[::2] + lefts[::3]):
        a, b = [field.value(limbs) for limbs in left], [field.value(limbs) for limbs in right]
        total, difference = c.call("add", left, right), c.call("sub", left, right)
        assert [field.value(limbs) for limbs in total] == [x + y for x, y in zip(a, b, strict=True)]
        assert [(field.value(limbs) - x + y) % P for limbs, x, y in zip(difference, a, b, strict=True)] == [0] * len(a)
        bounds = field.carried if field is IFMA else field.loose
        for limb, bound in zip(itertools.chain(*difference), bounds * field.lanes, strict=True):
            assert limb < bound


def test_carries(c: Arithmetic) -> None:
    field, rng = c.field, Random(SEED)
    # 19 times the last carry has to fit into what a tight limb may have above its width.
    for limbs in in_lanes(field, field.edges(field.carried, rng) + field.edges(field.loose, rng)):
        check(field, c.call("carry", limbs), [field.value(each) for each in limbs])


def test_powers(c: Arithmetic) -> None:
    field, rng = c.field, Random(SEED)
    for limbs in itertools.islice(in_lanes(field, field.edges(field.loose, rng)), 60):
        check(field, c.call("pow22523", limbs), [pow(field.value(each), (P - 5) // 8, P) for each in limbs])


def test_one_representation_is_below_p(portable: Arithmetic) -> None:
    rng = Random(SEED)
    for limbs in PORTABLE.edges((2**63,) * 5, rng) + PORTABLE.edges(PORTABLE.loose, rng):
        value = PORTABLE.value(limbs) % P
        [canonical] = portable.call("canonical", [limbs])
        assert canonical == [value >> 51 * i & (1 << 51) - 1 for i in range(5)]
        packed = (ctypes.c_uint64 * 5)(*limbs)
        assert portable.library.test_is_zero(packed) == (value == 0)
        assert portable.library.test_is_odd(packed) == value & 1
    for limbs in PORTABLE.edges(PORTABLE.tight, rng):
        check(PORTABLE, portable.call("neg", [limbs]), [-PORTABLE.value(limbs)])


def test_decoding_takes_255_bits(portable: Arithmetic) -> None:
    rng = Random(SEED)
    numbers = [rng.getrandbits(256) for _ in range(300)] + [1 << bit for bit in range(256)]
    numbers += [P + k for k in range(-20, 20)] + [2**256 - 1 - k for k in range(40)] + [2**255 + k for k in range(20)]
    numbers += [L + k for k in range(-20, 20)]
    numbers += [L + (sign << bit) for bit in range(252) for sign in (-1, 1)]
    for number in numbers:
        out, data = (ctypes.c_uint64 * 5)(), number.to_bytes(32, "little")
        portable.library.test_decode(out, data)
        assert PORTABLE.value(list(out)) == number % 2**255
        assert PORTABLE.is_tight(list(out))
        assert portable.library.test_canonical_y(data) == (number % 2**255 < P)
        assert portable.library.test_scalar_is_canonical(data) == (number < L)


def test_products_in_lanes_after_packing(wide: Arithmetic) -> None:
    field = wide.field
    cases = list(in_lanes(field, field.edges(field.loose, Random(SEED))))
    for left, right in itertools.product(cases[::2], cases):
        expected = [field.value(a) * field.value(b) for a, b in zip(left, right, strict=True)]
        check(field, wide.call("packed_mul", left, right), expected)


def test_lanes_are_gathered_and_scattered_in_order(wide: Arithmetic) -> None:
    rng, field = Random(SEED), wide.field
    vector = ctypes.c_uint64 * (len(field.widths) * field.lanes)
    scalars = ctypes.c_uint64 * (5 * field.lanes)

    def scattered(limbs: ctypes.Array[ctypes.c_uint64]) -> list[Limbs]:
        out = scalars()
        wide.library.test_scatter(out, limbs)
        return [out[at : at + 5] for at in range(0, len(out), 5)]

    for _ in range(300):
        values = [rng.choice([rng.randrange(P), 0, 1, P - 1]) for _ in range(field.lanes)]
        limbs = [PORTABLE.represent(value, PORTABLE.tight, rng) for value in values]
        limbs[rng.randrange(field.lanes)] = [bound - 1 for bound in PORTABLE.tight]
        values = [PORTABLE.value(each) for each in limbs]
        gathered = vector()
        wide.library.test_gather(gathered, scalars(*itertools.chain(*limbs)))
        check(field, [list(gathered[lane :: field.lanes]) for lane in range(field.lanes)], values)
        check(PORTABLE, scattered(gathered), values)
    for case in in_lanes(field, field.edges(field.tight, rng)):
        limbs_in_lanes = vector(*itertools.chain(*zip(*case, strict=True)))
        check(PORTABLE, scattered(limbs_in_lanes), [field.value(each) for each in case])


@pytest.mark.parametrize("field", [field for field in WIDE if field is IFMA], ids=lambda field: field.name)
def test_one_representation_in_each_lane_is_below_p(field: Field) -> None:
    rng, c = Random(SEED), compiled(field)
    flags = ctypes.c_int * field.lanes
    for case in in_lanes(field, field.edges(field.carried, rng) + field.edges(field.tight, rng)):
        values = [field.value(limbs) % P for limbs in case]
        expected = [[value >> 51 * i & (1 << 51) - 1 for i in range(5)] for value in values]
        assert c.call("canonical", case) == expected
        zeros, odds = flags(), flags()
        c.library.test_zeros_and_odds(zeros, odds, (ctypes.c_uint64 * 40)(*itertools.chain(*zip(*case, strict=True))))
        assert list(zeros) == [value == 0 for value in values]
        assert list(odds) == [value & 1 for value in values]


def edges_of(bits: int, rng: Random) -> list[int]:
    top = 1 << bits
    found = [
        0,
        1,
        2,
        top - 1,
        top - 2,
        top // 2,
        top // 2 - 1,
        top // 3,
        2 * (top // 3),
        *(top - 1 << 64 * i for i in range(1, 8)),
    ]
    found += [L * k + d for k in (1, 2, 8, top // L) for d in (-1, 0, 1)] + [rng.getrandbits(bits) for _ in range(20)]
    found += [(1 << 64 * i) - 1 << 64 * j for i in range(1, 9) for j in range(8)]
    return [each % top for each in found]


def test_sums_of_products_are_reduced_once(portable: Arithmetic) -> None:
    rng = Random(SEED)
    weights = [0, 1, 2**64 - 1, 2**64, 2**127, 2**128 - 1, rng.getrandbits(128), rng.getrandbits(128)]
    out = (ctypes.c_uint64 * 5)()
    for limbs in (4, 8):
        summed, expected = (ctypes.c_uint64 * 11)(), 0
        for z, x in itertools.product(weights, edges_of(64 * limbs, rng)):
            halves = (ctypes.c_uint64 * 2)(z % 2**64, z >> 64)
            portable.library.test_wide_add_product(summed, halves, x.to_bytes(8 * limbs, "little"), limbs)
            expected += z * x
            assert sum(limb << 64 * i for i, limb in enumerate(summed)) == expected
            portable.library.test_wide_reduce(out, summed)
            assert sum(limb << 64 * i for i, limb in enumerate(out)) == expected % L
    for value in edges_of(704, rng):
        portable.library.test_wide_reduce(
            out, (ctypes.c_uint64 * 11)(*(value >> 64 * i & 2**64 - 1 for i in range(11)))
        )
        assert sum(limb << 64 * i for i, limb in enumerate(out)) == value % L


def test_one_step_of_the_reduction(portable: Arithmetic) -> None:
    rng = Random(SEED)
    rests = [*range(3), *(L - k for k in range(1, 4)), 2**252, 2**252 - 1, *(1 << bit for bit in range(0, 252, 7))]
    rests += [L * k >> 32 for k in range(1, 2**32, 2**27)] + [rng.randrange(L) for _ in range(300)]
    for rest, word in itertools.product(rests, (0, 1, 2**31, 2**32 - 1, rng.getrandbits(32))):
        limbs = (ctypes.c_uint64 * 4)(*(rest >> 64 * i & 2**64 - 1 for i in range(4)))
        portable.library.test_shift_in(limbs, word)
        assert sum(limb << 64 * i for i, limb in enumerate(limbs)) == ((rest << 32) + word) % L


@pytest.mark.parametrize("width", range(2, 9))
@pytest.mark.parametrize(("bits", "stride"), [(128, 1), (128, 5), (253, 1)])
def test_digits_add_up_and_keep_their_distance(portable: Arithmetic, width: int, bits: int, stride: int) -> None:
    numbers = edges_of(min(bits, 252), Random(SEED)) + [2**bits - 1 - k for k in range(300)] + list(range(300))
    numbers += [each << bits - 10 for each in range(1024)] + ([L - 1, L] if bits > 252 else [])
    for number in numbers:
        limbs = (ctypes.c_uint64 * 5)(*(number >> 64 * i & 2**64 - 1 for i in range(5)))
        digits = (ctypes.c_int8 * ((bits + 1) * stride))(*(100,) * ((bits + 1) * stride))
        portable.library.test_wnaf(digits, ctypes.c_size_t(stride), limbs, bits, width)
        taken = digits[::stride]
        assert sum(digit << i for i, digit in enumerate(taken)) == number
        places = [i for i, digit in enumerate(taken) if digit]
        assert all(taken[i] % 2 and abs(taken[i]) < 1 << width - 1 for i in places)
        assert all(b - a >= width for a, b in itertools.pairwise(places))
        assert sum(digit == 100 for digit in digits) == bits * (stride - 1) + stride - 1
