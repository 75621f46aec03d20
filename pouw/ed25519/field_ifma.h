/* Eight integers modulo p = 2^255 - 19 at once, in the eight 64-bit lanes of five AVX-512 registers, multiplied by IFMA.
 *
 * Limbs have 51 bits, as in field.h. An instruction multiplies the low 52 bits of two lanes and adds the low, or the
 * high, 52 bits of the product to a third (Intel's Software Developer's Manual, VPMADD52LUQ and VPMADD52HUQ). So a value
 * can be multiplied if its limbs are below 2^52. It is "tight" if they are below 2^51 + 2^15: what fe8_mul, fe8_sq and
 * fe8_carry return. A sum of two tight values has to go through fe8_carry before it is multiplied.
 */
#ifndef POUW_ED25519_FIELD_IFMA_H
#define POUW_ED25519_FIELD_IFMA_H

#include <immintrin.h>

#include "field.h"

typedef struct {
    __m512i v[5];
} fe8;

/* Every loop over limbs has to be unrolled, see field_avx2.h. */
#define UNROLL _Pragma("GCC unroll 10")

#define FE8_PLUS(x, y) _mm512_add_epi64(x, y)
#define FE8_LOW(sum, x, y) _mm512_madd52lo_epu64(sum, x, y)
#define FE8_HIGH(sum, x, y) _mm512_madd52hi_epu64(sum, x, y)

static INLINE fe8 fe8_all(const fe *a) {
    fe8 out;
    UNROLL
    for (int i = 0; i < 5; i++)
        out.v[i] = _mm512_set1_epi64((int64_t)a->v[i]);
    return out;
}

static INLINE fe8 fe8_add(fe8 a, fe8 b) {
    UNROLL
    for (int i = 0; i < 5; i++)
        a.v[i] = FE8_PLUS(a.v[i], b.v[i]);
    return a;
}

/* The limbs of 2p. No limb of a tight value is above its limb here. */
static INLINE __m512i fe8_twice_p(int limb) {
    return _mm512_set1_epi64((INT64_C(1) << 52) - (limb == 0 ? 38 : 2));
}

/* a - b + 2p, for a tight b. */
static INLINE fe8 fe8_sub(fe8 a, fe8 b) {
    UNROLL
    for (int i = 0; i < 5; i++)
        a.v[i] = FE8_PLUS(a.v[i], _mm512_sub_epi64(fe8_twice_p(i), b.v[i]));
    return a;
}

/* Takes limbs below 2^61; returns tight ones: each carry is below 2^10, and 2^255 = 19 mod p. */
static INLINE fe8 fe8_carry(fe8 a) {
    const __m512i mask = _mm512_set1_epi64((int64_t)FE_MASK);
    __m512i carry[5];
    UNROLL
    for (int i = 0; i < 5; i++) {
        carry[i] = _mm512_srli_epi64(a.v[i], 51);
        a.v[i] = _mm512_and_si512(a.v[i], mask);
    }
    UNROLL
    for (int i = 1; i < 5; i++)
        a.v[i] = FE8_PLUS(a.v[i], carry[i - 1]);
    a.v[0] = FE8_LOW(a.v[0], carry[4], _mm512_set1_epi64(19));
    return a;
}

/* Ten limbs, each at most 14 * 2^52, to five: 19 times one of the upper ones and a lower one stay below 2^61. */
static INLINE fe8 fe8_fold(const __m512i r[10]) {
    fe8 out;
    UNROLL
    for (int i = 0; i < 5; i++) {
        __m512i upper = r[i + 5], times_3 = FE8_PLUS(upper, _mm512_slli_epi64(upper, 1));
        out.v[i] = FE8_PLUS(FE8_PLUS(r[i], times_3), _mm512_slli_epi64(upper, 4));
    }
    return fe8_carry(out);
}

/* Takes limbs below 2^52; returns tight ones. High halves weigh 2^52, which is twice what the next limb weighs. */
static INLINE fe8 fe8_mul(const fe8 *f, const fe8 *g) {
    __m512i r[10];
    UNROLL
    for (int k = 0; k < 10; k++)
        r[k] = _mm512_setzero_si512();
    UNROLL
    for (int i = 0; i < 5; i++) {
        UNROLL
        for (int j = 0; j < 5; j++)
            r[i + j + 1] = FE8_HIGH(r[i + j + 1], f->v[i], g->v[j]);
    }
    UNROLL
    for (int k = 1; k < 10; k++) /* high halves */
        r[k] = FE8_PLUS(r[k], r[k]);
    UNROLL
    for (int i = 0; i < 5; i++) {
        UNROLL
        for (int j = 0; j < 5; j++)
            r[i + j] = FE8_LOW(r[i + j], f->v[i], g->v[j]);
    }
    return fe8_fold(r);
}

/* As fe8_mul() of a value and itself: products of two different limbs count twice, and their high halves four times. */
static INLINE fe8 fe8_sq(const fe8 *f) {
    __m512i r[10];
    UNROLL
    for (int k = 0; k < 10; k++)
        r[k] = _mm512_setzero_si512();
    UNROLL
    for (int i = 0; i < 5; i++) {
        UNROLL
        for (int j = i + 1; j < 5; j++)
            r[i + j + 1] = FE8_HIGH(r[i + j + 1], f->v[i], f->v[j]);
    }
    UNROLL
    for (int k = 2; k < 9; k++)
        r[k] = FE8_PLUS(r[k], r[k]);
    UNROLL
    for (int i = 0; i < 5; i++) {
        r[2 * i + 1] = FE8_HIGH(r[2 * i + 1], f->v[i], f->v[i]);
        UNROLL
        for (int j = i + 1; j < 5; j++)
            r[i + j] = FE8_LOW(r[i + j], f->v[i], f->v[j]);
    }
    UNROLL
    for (int k = 1; k < 10; k++)
        r[k] = FE8_PLUS(r[k], r[k]);
    UNROLL
    for (int i = 0; i < 5; i++)
        r[2 * i] = FE8_LOW(r[2 * i], f->v[i], f->v[i]);
    return fe8_fold(r);
}

/* The one representation that is below p, as fe_canonical(). Takes limbs below 2^61. */
static inline fe8 fe8_canonical(fe8 a) {
    const __m512i mask = _mm512_set1_epi64((int64_t)FE_MASK);
    __m512i carry = _mm512_set1_epi64(19);
    a = fe8_carry(a);
    UNROLL
    for (int i = 0; i < 5; i++)
        carry = _mm512_srli_epi64(FE8_PLUS(a.v[i], carry), 51);
    a.v[0] = FE8_LOW(a.v[0], carry, _mm512_set1_epi64(19));
    UNROLL
    for (int i = 0; i < 4; i++) {
        a.v[i + 1] = FE8_PLUS(a.v[i + 1], _mm512_srli_epi64(a.v[i], 51));
        a.v[i] = _mm512_and_si512(a.v[i], mask);
    }
    a.v[4] = _mm512_and_si512(a.v[4], mask);
    return a;
}

/* The lanes whose value is 0 modulo p; takes what fe8_canonical() does, as the next function. */
static inline __mmask8 fe8_zeros(fe8 a) {
    a = fe8_canonical(a);
    __m512i any = _mm512_or_si512(_mm512_or_si512(a.v[0], a.v[1]), _mm512_or_si512(a.v[2], a.v[3]));
    return _mm512_testn_epi64_mask(_mm512_or_si512(any, a.v[4]), _mm512_set1_epi64(-1));
}

/* The lanes whose value below p is odd. */
static inline __mmask8 fe8_odds(fe8 a) {
    return _mm512_test_epi64_mask(fe8_canonical(a).v[0], _mm512_set1_epi64(1));
}

/* b where the lane's bit is set, else a. */
static INLINE fe8 fe8_choose(__mmask8 lanes, fe8 a, fe8 b) {
    UNROLL
    for (int i = 0; i < 5; i++)
        a.v[i] = _mm512_mask_mov_epi64(a.v[i], lanes, b.v[i]);
    return a;
}

/* Eight values, tight as field.h has it, into the lanes. */
static inline fe8 fe8_gather(const fe *const values[8]) {
    fe8 out;
    UNROLL
    for (int i = 0; i < 5; i++) {
        uint64_t limbs[8];
        for (int lane = 0; lane < 8; lane++)
            limbs[lane] = values[lane]->v[i];
        out.v[i] = _mm512_loadu_si512(limbs);
    }
    return out;
}

/* The lanes of a tight value, as values that field.h calls tight. */
static inline void fe8_scatter(fe out[8], const fe8 *a) {
    for (int i = 0; i < 5; i++) {
        uint64_t limbs[8];
        _mm512_storeu_si512(limbs, a->v[i]);
        for (int lane = 0; lane < 8; lane++)
            out[lane].v[i] = limbs[lane];
    }
    for (int lane = 0; lane < 8; lane++)
        out[lane] = fe_carry(out[lane]);
}

#endif
