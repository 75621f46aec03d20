/* Four integers modulo p = 2^255 - 19 at once, in the four 64-bit lanes of ten AVX2 registers.
 *
 * Limb i weighs 2^ceil(25.5 i): even limbs have 26 bits and odd ones 25, so that limbs multiply 32 by 32 to 64 bits
 * (Bernstein, Schwabe, "NEON crypto", section 2, has this radix in vectors). A value is "tight" if even limbs are below
 * 2^26 + 2^18 and odd ones below 2^25 + 2^18: what fe4_mul, fe4_sq and fe4_carry return. It is "loose" if limbs are
 * at most 3 * 2^26 + 2^18: what fe4_mul takes, so that 267 products of two such limbs stay below 2^64, and 19 times a
 * limb below 2^32. A sum or a difference of two tight values is loose.
 */
#ifndef POUW_ED25519_FIELD_AVX2_H
#define POUW_ED25519_FIELD_AVX2_H

#include <immintrin.h>

#include "field.h"

typedef struct {
    __m256i v[10];
} fe4;

/* Two limbs in each 64-bit lane, the even one below: half the memory. */
typedef struct {
    __m256i v[5];
} fe4_packed;

/* Every loop over limbs has to be unrolled: limbs then live in registers, and what depends on i and k is constant. */
#define UNROLL _Pragma("GCC unroll 10")

#define FE4_PRODUCT(x, y) _mm256_mul_epu32(x, y) /* of the lower halves of the lanes */
#define FE4_PLUS(x, y) _mm256_add_epi64(x, y)

static INLINE fe4 fe4_add(fe4 a, fe4 b) {
    UNROLL
    for (int i = 0; i < 10; i++)
        a.v[i] = FE4_PLUS(a.v[i], b.v[i]);
    return a;
}

/* The limbs of 2p. No limb of a tight value is above its limb here. */
static INLINE __m256i fe4_twice_p(int limb) {
    return _mm256_set1_epi64x(limb == 0 ? (1 << 27) - 38 : limb % 2 ? (1 << 26) - 2 : (1 << 27) - 2);
}

/* a - b + 2p, for a tight b. */
static INLINE fe4 fe4_sub(fe4 a, fe4 b) {
    UNROLL
    for (int i = 0; i < 10; i++)
        a.v[i] = FE4_PLUS(a.v[i], _mm256_sub_epi64(fe4_twice_p(i), b.v[i]));
    return a;
}

/* The carry of limb i to its neighbour, where 2^255 = 19 mod p. */
static INLINE void fe4_carry_limb(fe4 *a, int i) {
    int bits = i % 2 ? 25 : 26;
    __m256i carry = _mm256_srli_epi64(a->v[i], bits);
    a->v[i] = _mm256_and_si256(a->v[i], _mm256_set1_epi64x((1 << bits) - 1));
    if (i == 9) /* up to 2^39, too much for a product of 32 bits: 19 = 16 + 2 + 1 */
        carry = FE4_PLUS(FE4_PLUS(_mm256_slli_epi64(carry, 4), _mm256_slli_epi64(carry, 1)), carry);
    a->v[(i + 1) % 10] = FE4_PLUS(a->v[(i + 1) % 10], carry);
}

/* Takes limbs below 2^64 - 2^44; returns tight ones. Two chains, so that one need not wait for the other. */
static INLINE fe4 fe4_carry(fe4 a) {
    fe4_carry_limb(&a, 0), fe4_carry_limb(&a, 4);
    fe4_carry_limb(&a, 1), fe4_carry_limb(&a, 5);
    fe4_carry_limb(&a, 2), fe4_carry_limb(&a, 6);
    fe4_carry_limb(&a, 3), fe4_carry_limb(&a, 7);
    fe4_carry_limb(&a, 4), fe4_carry_limb(&a, 8);
    fe4_carry_limb(&a, 9);
    fe4_carry_limb(&a, 0);
    return a;
}

/* Takes loose values; returns a tight one. Two odd limbs weigh twice what the limb of their product weighs. */
static INLINE fe4 fe4_mul(const fe4 *f, const fe4 *g) {
    __m256i nineteen = _mm256_set1_epi64x(19), g19[10], twice[10];
    fe4 out;
    UNROLL
    for (int j = 1; j < 10; j++)
        g19[j] = FE4_PRODUCT(g->v[j], nineteen);
    UNROLL
    for (int i = 1; i < 10; i += 2)
        twice[i] = FE4_PLUS(f->v[i], f->v[i]);
    UNROLL
    for (int k = 0; k < 10; k++) {
        out.v[k] = FE4_PRODUCT(f->v[0], g->v[k]);
        UNROLL
        for (int i = 1; i < 10; i++) {
            int j = (k + 10 - i) % 10, both_odd = i % 2 && j % 2;
            out.v[k] = FE4_PLUS(out.v[k], FE4_PRODUCT(both_odd ? twice[i] : f->v[i], i + j < 10 ? g->v[j] : g19[j]));
        }
    }
    return fe4_carry(out);
}

/* Takes a loose value; returns a tight one. */
static INLINE fe4 fe4_sq(const fe4 *f) {
    __m256i nineteen = _mm256_set1_epi64x(19), f19[10], twice[10], fourfold[10];
    fe4 out;
    UNROLL
    for (int j = 5; j < 10; j++)
        f19[j] = FE4_PRODUCT(f->v[j], nineteen);
    UNROLL
    for (int i = 0; i < 10; i++)
        twice[i] = FE4_PLUS(f->v[i], f->v[i]);
    UNROLL
    for (int i = 1; i < 10; i += 2)
        fourfold[i] = FE4_PLUS(twice[i], twice[i]);
    UNROLL
    for (int k = 0; k < 10; k++) {
        out.v[k] = _mm256_setzero_si256();
        UNROLL
        for (int i = 0; i < 10; i++) {
            int j = (k + 10 - i) % 10, both_odd = i % 2 && j % 2;
            if (i > j) /* the same pair as (j, i) */
                continue;
            __m256i left = i == j ? (both_odd ? twice[i] : f->v[i]) : (both_odd ? fourfold[i] : twice[i]);
            out.v[k] = FE4_PLUS(out.v[k], FE4_PRODUCT(left, i + j < 10 ? f->v[j] : f19[j]));
        }
    }
    return fe4_carry(out);
}

/* Four tight values into the lanes. */
static inline fe4 fe4_gather(const fe *const values[4]) {
    fe4 out;
    UNROLL
    for (int i = 0; i < 5; i++) {
        __m256i limb = _mm256_set_epi64x((int64_t)values[3]->v[i], (int64_t)values[2]->v[i],
                                         (int64_t)values[1]->v[i], (int64_t)values[0]->v[i]);
        out.v[2 * i] = _mm256_and_si256(limb, _mm256_set1_epi64x((1 << 26) - 1));
        out.v[2 * i + 1] = _mm256_srli_epi64(limb, 26);
    }
    return out;
}

static inline fe4 fe4_all(const fe *a) {
    const fe *values[4] = {a, a, a, a};
    return fe4_gather(values);
}

/* The lanes of a tight value, as tight values. */
static inline void fe4_scatter(fe out[4], const fe4 *a) {
    UNROLL
    for (int i = 0; i < 5; i++) {
        uint64_t limbs[4];
        _mm256_storeu_si256((__m256i *)limbs, FE4_PLUS(a->v[2 * i], _mm256_slli_epi64(a->v[2 * i + 1], 26)));
        for (int lane = 0; lane < 4; lane++)
            out[lane].v[i] = limbs[lane];
    }
    for (int lane = 0; lane < 4; lane++)
        out[lane] = fe_carry(out[lane]);
}

static inline fe4_packed fe4_pack(const fe4 *a) {
    fe4_packed out;
    UNROLL
    for (int i = 0; i < 5; i++)
        out.v[i] = _mm256_or_si256(a->v[2 * i], _mm256_slli_epi64(a->v[2 * i + 1], 32));
    return out;
}

/* The even limbs keep what lies above them: fe4_mul() does not look there in its second argument. */
static INLINE fe4 fe4_unpack(const fe4_packed *a) {
    fe4 out;
    UNROLL
    for (int i = 0; i < 5; i++) {
        out.v[2 * i] = a->v[i];
        out.v[2 * i + 1] = _mm256_srli_epi64(a->v[i], 32);
    }
    return out;
}

#endif
