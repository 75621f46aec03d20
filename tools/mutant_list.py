"""The faults that tools/mutants.py plants: a file below pouw/, a text that is there once, what replaces it, and why.

Only faults that change an answer are worth a line here; what is merely slower, no test of answers can catch.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One fault."""

    file: str
    old: str
    new: str
    why: str


FIELD, SCALAR, POINT = "ed25519/field.h", "ed25519/scalar.h", "ed25519/point.h"
SHA512, EQUATION, VERIFY = "ed25519/sha512.h", "ed25519/equation.h", "ed25519/verify.c"
WIDE, AVX2, LANES = "ed25519/field_avx2.h", "ed25519/avx2.c", "ed25519/lanes.h"
EIGHT, IFMA, FACE = "ed25519/field_ifma.h", "ed25519/ifma.c", "_fast/signatures.pxi"

IN_FIELD = [
    (FIELD, "a.v[0] += 19 * carry; /* 2^255", "a.v[0] += 18 * carry; /* 2^255", "a wrong factor of the last carry"),
    (FIELD, "    r3 += (uint64_t)(r2 >> 51);\n", "", "a dropped carry between limbs of a product"),
    (FIELD, "r1 += (uint64_t)(r0 >> 51)", "r1 += (uint32_t)(r0 >> 51)", "a carry cut to 32 bits"),
    (FIELD, "& FE_MASK) + (low >> 51);", "& FE_MASK);", "the carry after the reduction dropped, which is rarely set"),
    (FIELD, "+ 19 * (uint64_t)(r4 >> 51)", "+ (uint64_t)(r4 >> 51)", "a product's reduction without its 19"),
    (FIELD, "(UINT64_C(1) << 53) - 76", "(UINT64_C(1) << 53) - 75", "a difference off by one"),
    (FIELD, "FE_PRODUCT(a[4], b1),", "FE_PRODUCT(a[4], b[1]),", "a wrapped product without its 19"),
    (FIELD, "FE_PRODUCT(2 * a[2], a3)", "FE_PRODUCT(a[2], a3)", "a cross product of a square counted once"),
    (FIELD, "uint64_t carry = 19;", "uint64_t carry = 18;", "p itself taken for reduced"),
    (FIELD, "a = fe_carry(a);", "", "no carry before the last reduction"),
    (FIELD, "fe_sq_times(a_250, 2), a)", "fe_sq_times(a_250, 1), a)", "a squaring too few in the root's exponent"),
    (FIELD, "(load64(bytes + 24) >> 12) & FE_MASK", "load64(bytes + 24) >> 12", "the sign bit left in y"),
    (FIELD, "(load64(bytes + 12) >> 6)", "(load64(bytes + 12) >> 5)", "a limb of y decoded from the wrong bit"),
    (FIELD, "0x52036cee2b6ff", "0x52036cee2b6fe", "a wrong d"),
    (FIELD, "0x2406d9dc56dff", "0x2406d9dc56dfe", "a wrong 2d"),
    (FIELD, "0x61b274a0ea0b0", "0x61b274a0ea0b1", "a wrong root of -1"),
    (WIDE, "    fe4_carry_limb(&a, 9);\n", "", "the wide carry from the last limb to the first dropped"),
    (WIDE, "    fe4_carry_limb(&a, 0);\n    return a;", "    return a;", "the first wide limb left too large"),
    (WIDE, "_mm256_slli_epi64(carry, 4)", "_mm256_slli_epi64(carry, 3)", "11 for 19 in the wide carry"),
    (WIDE, "both_odd ? twice[i] : f->v[i], i", "f->v[i], i", "two odd wide limbs weighed like others"),
    (WIDE, "i + j < 10 ? g->v[j] : g19[j]", "i + j < 11 ? g->v[j] : g19[j]", "a wrapped wide product without its 19"),
    (WIDE, "both_odd ? fourfold[i] : twice[i]", "twice[i]", "two odd limbs of a wide square weighed like others"),
    (WIDE, "(1 << 27) - 38", "(1 << 27) - 36", "a wide difference off by two"),
    (WIDE, "_mm256_srli_epi64(limb, 26)", "_mm256_srli_epi64(limb, 25)", "limbs split at the wrong bit"),
    (WIDE, "(int64_t)values[3]->v[i], (int64_t)values[2]->v[i]", "(int64_t)values[2]->v[i], (int64_t)values[3]->v[i]",
     "two lanes mixed up"),
    (LANES, "while (times-- > 0)", "while (times-- > 1)", "a wide squaring too few"),
    (EIGHT, "carry[4], _mm512_set1_epi64(19));\n    return a;", "carry[4], _mm512_set1_epi64(18));\n    return a;",
     "18 for 19 in the carry of eight"),
    (EIGHT, "for (int i = 1; i < 5; i++)\n        a.v[i] = FE8_PLUS(a.v[i], carry[i - 1]);",
     "for (int i = 1; i < 4; i++)\n        a.v[i] = FE8_PLUS(a.v[i], carry[i - 1]);", "a dropped carry of eight"),
    (EIGHT, "_mm512_slli_epi64(upper, 4));", "_mm512_slli_epi64(upper, 3));", "11 for 19 in a product of eight"),
    (EIGHT, "for (int k = 1; k < 10; k++) /* high halves */", "for (int k = 1; k < 9; k++)",
     "the highest half of a product of eight counted once"),
    (EIGHT, "for (int k = 2; k < 9; k++)", "for (int k = 2; k < 8; k++)",
     "a high cross product counted twice, not four times"),
    (EIGHT, "FE8_LOW(r[2 * i], f->v[i], f->v[i])", "FE8_HIGH(r[2 * i], f->v[i], f->v[i])", "a high half for a low one"),
    (EIGHT, "limb == 0 ? 38 : 2", "limb == 0 ? 36 : 2", "a difference of eight off by two"),
    (EIGHT, "__m512i carry = _mm512_set1_epi64(19);", "__m512i carry = _mm512_set1_epi64(18);",
     "p itself taken for reduced, in lanes"),
    (EIGHT, "_mm512_or_si512(any, a.v[4])", "any", "the top limb not asked whether it is zero"),
    (EIGHT, "fe8_canonical(a).v[0], _mm512_set1_epi64(1)", "fe8_carry(a).v[0], _mm512_set1_epi64(1)",
     "odd told by a value that is not reduced"),
]  # fmt: skip

IN_SCALARS = [
    (SCALAR, "0x5812631a5cf5d3ed", "0x5812631a5cf5d3ee", "a wrong group order"),
    (SCALAR, "limb < ORDER[i];\n    }\n    return 0;", "limb < ORDER[i];\n    }\n    return 1;", "S <= L for S < L"),
    (SCALAR, "int i = 3; i >= 0; i--", "int i = 2; i >= 0; i--", "the upper bits of S not looked at"),
    (SCALAR, "for (int i = limbs + j; i < 11; i++)", "for (int i = limbs + j; i < 4; i++)", "a carry lost in a sum"),
    (SCALAR, "& 1;\n    }\n    if (!borrow)", "& 0;\n    }\n    if (!borrow)", "a dropped borrow"),
    (SCALAR, "if (!borrow)\n        return;", "return;", "a dropped addition of the order"),
    (SCALAR, "r[3] >> 28;", "r[3] >> 28 & 0xffffffff;", "a bit of the quotient cut off"),
    (SCALAR, "for (int i = 10; i >= 0; i--)", "for (int i = 9; i >= 0; i--)", "the top limb of a sum left out"),
    (SCALAR, "carry = window >> (width - 1);", "carry = window >> width;", "a digit without its carry"),
    (SCALAR, "if (shift + width > 64)", "if (shift + width > 65)", "a window that straddles two limbs cut short"),
    (SCALAR, "while (at <= bits)", "while (at < bits)", "the last digit lost"),
]  # fmt: skip

IN_POINTS = [
    (POINT, "minus ? more : less, minus ? less : more", "less, more", "a subtraction that keeps the sign of T"),
    (POINT, "minus ? q->sum : q->difference", "q->difference", "a subtraction that keeps a sign"),
    (POINT, "fe_add(fe_add(zz, zz), xx)", "fe_add(zz, xx)", "a wrong doubling"),
    (POINT, "    p->z = fe_mul(f, g);", "    p->z = fe_mul(f, h);", "a wrong Z"),
    (POINT, "UINT64_MAX - 18", "UINT64_MAX - 17", "y = p taken for canonical"),
    (POINT, "(load64(bytes + 24) | UINT64_C(1) << 63)", "load64(bytes + 24)", "y >= p seen with a sign bit only"),
    (POINT, "if (!encodes_canonical_y(bytes))\n        return 0;", "", "no check that y is canonical"),
    (POINT, "return 0; /* there is no -0 */", "x = FE_ZERO;", "-0 decoded"),
    (POINT, "if (!fe_is_zero(fe_add(vxx, u)))\n            return 0;", "", "points off the curve decoded"),
    (POINT, "x = fe_mul(x, FE_SQRT_M1);", "", "the other root forgotten"),
    (POINT, "if (fe_is_odd(x) != sign)", "if (fe_is_odd(x) == sign)", "the sign of x turned"),
    (POINT, "0x7a03ac9277fdc74e", "0x7a03ac9277fdc74f", "a point of order 8 not known for small"),
    (POINT, "i < 5; i++) {\n        if (load64(bytes) ==", "i < 2; i++) {\n        if (load64(bytes) ==",
     "points of order 4 and 8 not known for small"),
    (POINT, "(load64(bytes + 24) & (UINT64_MAX >> 1)) == small", "load64(bytes + 24) == small",
     "small points with a sign bit let through"),
    (POINT, " && fe_is_zero(fe_sub(p->y, p->z))", "", "the point of order 2 taken for the neutral one"),
    (LANES, "2, 0, 3, 1); /* F, E, G, H */", "2, 0, 1, 3); /* F, E, G, H */", "two wide products mixed up"),
    (LANES, "KEEP(yy, LANE_1)", "KEEP(xx, LANE_1)", "a wide doubling with X for Y"),
    (LANES, "plus.v[i]), LANE_2);", "plus.v[i]), 0);", "a wide negative that keeps the sign of T"),
    (LANES, "BLEND(abcd.v[i], less, LANE_0 | LANE_2)", "BLEND(less, abcd.v[i], LANE_0 | LANE_2)",
     "sums and differences of a wide addition mixed up"),
    (LANES, "    ehfg = CARRY(ehfg);\n", "", "a doubling that multiplies what is too large"),
    (LANES, "    return FACTOR(out);", "    return out;", "a sum of eight multiplied without a carry"),
    (LANES, "    minus = FACTOR(minus);\n", "    minus = plus;\n", "a negative that is the point itself"),
    (IFMA, "_mm512_extracti64x4_epi64(a->v[i], 1)", "_mm512_extracti64x4_epi64(a->v[i], 0)",
     "the first of two points kept twice"),
    (IFMA, "(lanes) * 0x11), y)", "(lanes) * 0x01), y)", "the second of two points left as it was"),
    (IFMA, "_mm512_setr_epi64(0, 8, 0, 8, 1, 9, 1, 9)", "_mm512_setr_epi64(0, 8, 0, 8, 0, 9, 1, 9)",
     "the second point of a pair given its neighbour's X"),
    (IFMA, "found = canonical & (is_root | is_other)", "found = canonical", "points off the curve decoded, in lanes"),
    (IFMA, "found = canonical & (is_root", "found = (is_root", "no check that y is canonical, in lanes"),
    (IFMA, "    found &= (__mmask8)~(turned & fe8_zeros(x)); /* there is no -0 */\n", "", "-0 decoded, in lanes"),
    (IFMA, "fe8_choose(is_root, other, x)", "fe8_choose(is_other, x, x)", "the other root forgotten, in lanes"),
    (IFMA, "fe8_odds(x) ^ signs", "fe8_odds(x)", "the sign of x not looked at, in lanes"),
    (IFMA, "{{&both[1], 0}, {&both[0], 0}}", "{{&both[0], 0}, {&both[1], 0}}",
     "one of two sums doubled, the other lost"),
    (AVX2, "bytes[lane], ys[lane], us[lane]", "bytes[lane], ys[0], us[lane]", "a lane's y given to all"),
    (VERIFY, "i < 128; i++)", "i < 127; i++)", "2^127 times a point for 2^128 times"),
    (VERIFY, "point_double(&out[1], i == 127);", "point_double(&out[1], 0);", "a key's upper point without T"),
    (VERIFY, "0x67875f0fd78b7", "0x67875f0fd78b6", "a wrong T of the base point"),
    (VERIFY, " || !has_order_l(&p)", "", "keys of mixed order accepted"),
    (VERIFY, "encodes_small_order(bytes) || ", "", "the neutral point accepted as a key"),
]  # fmt: skip

IN_HASH = [
    (SHA512, "ROTATE(a, 39)", "ROTATE(a, 38)", "a wrong rotation"),
    (SHA512, "0x6c44198c4a475817", "0x6c44198c4a475816", "a wrong last constant"),
    (SHA512, "w[(i + 9) & 15]", "w[(i + 8) & 15]", "a wrong word in the schedule"),
    (SHA512, "state[7] += h", "state[7] = h", "a state that forgets the block before"),
    (EQUATION, "size >= start && size", "size > start && size", "no padding bit where a message fills its block"),
    (EQUATION, "+ 1 + 16 + 127", "+ 1 + 8 + 127", "too few blocks for the length"),
    (EQUATION, "(uint64_t)size * 8", "(uint64_t)(uint16_t)(size * 8)", "a length of 16 bits"),
    (EQUATION, "(uint64_t)size * 8", "(uint64_t)(size - 64) * 8", "a length without R and A"),
    (EQUATION, "block + 1 == blocks[lane] && i < 8", "block + 1 == most && i < 8", "a lane's hash taken too late"),
    (EQUATION, "memcpy(out + 32, key, 32);", "memcpy(out + 32, job->signature, 32);", "a hash without the key"),
    (EQUATION, "job->message + (start + taken - 64)", "job->message + start", "a message read from the wrong place"),
    (EQUATION, "batch->hash[at + lane] : spare", "batch->hash[at] : spare", "all lanes' hashes in one place"),
    (EQUATION, "&jobs[batch->index[there ? at + lane : at]]", "&jobs[there ? at + lane : at]",
     "the hash of another, where one was not admitted"),
]  # fmt: skip

IN_EQUATION = [
    (EQUATION, "digits[k][bit], k >= 2);", "digits[k][bit], 0);", "the sign of the key's term turned"),
    (EQUATION, "batch->z_bits && i < to; i++)", "batch->z_bits && i + 1 < to; i++)", "the last R of a sum skipped"),
    (EQUATION, "{sum.v[k % 2 * 2], sum.v", "{sum.v[0], sum.v", "the lower limb of a scalar taken for the third"),
    (EQUATION, ": batch->a[k - 2]", ": batch->a[0]", "the upper half of a scalar times the key itself"),
    (EQUATION, "for (; count % POINTS != 0; count++)", "for (; 0; count++)",
     "an odd term beside one that was there before"),
    (EQUATION, "i < count; i += POINTS)", "i + 1 < count; i += POINTS)", "the last term left out"),
    (EQUATION, "batch->hash[i], 8);", "batch->hash[i], 4);", "the upper half of a hash left out"),
    (EQUATION, "batch->z[i], batch->s[i], 4);", "batch->z[from], batch->s[i], 4);", "one weight for all S"),
    (EQUATION, "count > 0 || bit == 0);", "count > 0);", "a sum whose T is out of date"),
    (EQUATION, "for (int bit = BITS; bit >= 0; bit--)", "for (int bit = BITS - 1; bit >= 0; bit--)",
     "the top digit of a sum skipped"),
    (EQUATION, "(digit < 0) != minus}", "minus}", "negative digits added"),
    (EQUATION, "    NAME(double)(&twice, 1);\n", "", "a table of all multiples where odd ones belong"),
    (EQUATION, "    q = NAME(fold)(q);\n", "", "only the first of two sums looked at"),
    (EQUATION, "for (int i = 0; i < 3; i++)\n        NAME(double)", "for (int i = 0; i < 0; i++)\n        NAME(double)",
     "no cofactor"),
    (EQUATION, "for (int i = 0; i < 3; i++)\n        NAME(double)", "for (int i = 0; i < 2; i++)\n        NAME(double)",
     "a cofactor of 4"),
    (EQUATION, "valid[batch->index[i]] = 1;", "valid[i] = 1;", "verdicts given to the neighbours of bad ones"),
    (EQUATION, "        NAME(judge)(batch, middle, to, sum, search, valid);\n", "", "the right half forgotten"),
    (EQUATION, "        NAME(judge)(batch, from, middle, left, search, valid);\n", "", "the left half forgotten"),
    (EQUATION, "kept, &left, 1);", "kept, &left, 0);", "the left half added to the whole"),
    (EQUATION, "} else if (search && to - from > 1) {", "} else if (search && to - from > 2) {", "two judged as one"),
    (EQUATION, "scalar_is_canonical(jobs[i].signature + 32) && ", "", "S not checked"),
    (EQUATION, " && !encodes_small_order(jobs[i].signature)", "", "a small R accepted"),
    (EQUATION, " || !good[lane + k])", ")", "an R that is no point accepted"),
    (EQUATION, "= candidates[at + lane + k];", "= candidates[at + lane];",
     "the second of two points taken for the first"),
    (EQUATION, "= candidates[at + lane + k];", "= candidates[at];", "a lane taken for the first one"),
    (EQUATION, "drawn[i][0], batch->z[i][1] = drawn[i][1]", "1, batch->z[i][1] = 0", "weights of 1"),
    (EQUATION, "drawn[i][0], batch->z[i][1] = drawn[i][1]", "0, batch->z[i][1] = 0", "weights of 0"),
    (EQUATION, "drawn[i][0], batch->z[i][1] = drawn[i][1]", "drawn[i][0], batch->z[i][1] = 0", "weights of 64 bits"),
    (EQUATION, "drawn[i][0], batch->z[i][1] = drawn[i][1]", "drawn[0][0], batch->z[i][1] = drawn[0][1]",
     "one weight for all"),
    (EQUATION, "batch->count * sizeof drawn[0]", "(batch->count - 1) * sizeof drawn[0]", "a weight that nobody drew"),
    (EQUATION, "NAME(hash_all)(batch, jobs, key->bytes);", "if (first == 0) NAME(hash_all)(batch, jobs, key->bytes);",
     "hashes of the first chunk kept for the next"),
    (FACE, "if key.valid:", "if True:", "bad keys not refused"),
    (FACE, "if not valid[i] and ed25519_verify(", "if False and ed25519_verify(", "libsodium's rule as it is"),
]  # fmt: skip

MUTANTS = [Mutant(*fault) for fault in [*IN_FIELD, *IN_SCALARS, *IN_POINTS, *IN_HASH, *IN_EQUATION]]
