/* Integers modulo p = 2^255 - 19, in five limbs of 51 bits.
 *
 * Nothing in this folder handles a secret: it verifies signatures. So nothing here runs in constant time.
 *
 * A value is "tight" if each limb is below 2^51 + 2^13: what fe_mul, fe_sq, fe_carry and fe_decode return. It is
 * "loose" if each limb is below 2^54: what fe_mul, fe_sq and fe_carry take. A sum of two tight values, or a tight one
 * less a sum of two tight ones, is loose; fe_sub says how.
 */
#ifndef POUW_ED25519_FIELD_H
#define POUW_ED25519_FIELD_H

#include <stdint.h>
#include <string.h>

typedef unsigned __int128 uint128_t;

/* The compiler would rather call these, which doubles their price. */
#define INLINE inline __attribute__((always_inline))

typedef struct {
    uint64_t v[5];
} fe;

#define FE_MASK ((UINT64_C(1) << 51) - 1)

static const fe FE_ZERO = {{0, 0, 0, 0, 0}};
static const fe FE_ONE = {{1, 0, 0, 0, 0}};
/* The curve's d = -121665/121666, twice d, and a square root of -1 (RFC 8032, 5.1). */
static const fe FE_D = {{0x34dca135978a3, 0x1a8283b156ebd, 0x5e7a26001c029, 0x739c663a03cbb, 0x52036cee2b6ff}};
static const fe FE_2D = {{0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff}};
static const fe FE_SQRT_M1 = {{0x61b274a0ea0b0, 0x0d5a5fc8f189d, 0x7ef5e9cbd0c60, 0x78595a6804c9e, 0x2b8324804fc1d}};

/* Limbs add up without a carry: two tight values give limbs below 2^52 + 2^14. */
static INLINE fe fe_add(fe a, fe b) {
    for (int i = 0; i < 5; i++)
        a.v[i] += b.v[i];
    return a;
}

/* a - b + 4p, without a carry. Takes limbs of b up to 2^53 - 76, those of 4p; adds less than 2^53 to limbs of a. */
static INLINE fe fe_sub(fe a, fe b) {
    a.v[0] += ((UINT64_C(1) << 53) - 76) - b.v[0];
    for (int i = 1; i < 5; i++)
        a.v[i] += ((UINT64_C(1) << 53) - 4) - b.v[i];
    return a;
}

/* Takes limbs below 2^59; returns tight ones. */
static INLINE fe fe_carry(fe a) {
    uint64_t carry = 0;
    for (int i = 0; i < 5; i++) {
        a.v[i] += carry;
        carry = a.v[i] >> 51;
        a.v[i] &= FE_MASK;
    }
    a.v[0] += 19 * carry; /* 2^255 = 19 mod p */
    return a;
}

static inline fe fe_neg(fe a) {
    return fe_carry(fe_sub(FE_ZERO, a));
}

/* Five sums of products, each below 2^115, to tight limbs. */
static INLINE fe fe_fold(uint128_t r0, uint128_t r1, uint128_t r2, uint128_t r3, uint128_t r4) {
    fe out;
    r1 += (uint64_t)(r0 >> 51);
    r2 += (uint64_t)(r1 >> 51);
    r3 += (uint64_t)(r2 >> 51);
    r4 += (uint64_t)(r3 >> 51);
    uint64_t low = ((uint64_t)r0 & FE_MASK) + 19 * (uint64_t)(r4 >> 51); /* r4 is below 2^112: it has no factor 19 */
    out.v[0] = low & FE_MASK;
    out.v[1] = ((uint64_t)r1 & FE_MASK) + (low >> 51);
    out.v[2] = (uint64_t)r2 & FE_MASK;
    out.v[3] = (uint64_t)r3 & FE_MASK;
    out.v[4] = (uint64_t)r4 & FE_MASK;
    return out;
}

#define FE_PRODUCT(x, y) ((uint128_t)(x) * (y))

/* Takes loose values; returns a tight one. */
static INLINE fe fe_mul(fe f, fe g) {
    const uint64_t *a = f.v, *b = g.v;
    uint64_t b1 = 19 * b[1], b2 = 19 * b[2], b3 = 19 * b[3], b4 = 19 * b[4];
    return fe_fold(
        FE_PRODUCT(a[0], b[0]) + FE_PRODUCT(a[1], b4) + FE_PRODUCT(a[2], b3) + FE_PRODUCT(a[3], b2) + FE_PRODUCT(a[4], b1),
        FE_PRODUCT(a[0], b[1]) + FE_PRODUCT(a[1], b[0]) + FE_PRODUCT(a[2], b4) + FE_PRODUCT(a[3], b3) + FE_PRODUCT(a[4], b2),
        FE_PRODUCT(a[0], b[2]) + FE_PRODUCT(a[1], b[1]) + FE_PRODUCT(a[2], b[0]) + FE_PRODUCT(a[3], b4) + FE_PRODUCT(a[4], b3),
        FE_PRODUCT(a[0], b[3]) + FE_PRODUCT(a[1], b[2]) + FE_PRODUCT(a[2], b[1]) + FE_PRODUCT(a[3], b[0]) + FE_PRODUCT(a[4], b4),
        FE_PRODUCT(a[0], b[4]) + FE_PRODUCT(a[1], b[3]) + FE_PRODUCT(a[2], b[2]) + FE_PRODUCT(a[3], b[1]) + FE_PRODUCT(a[4], b[0]));
}

/* Takes a loose value; returns a tight one. */
static INLINE fe fe_sq(fe f) {
    const uint64_t *a = f.v;
    uint64_t twice0 = 2 * a[0], twice1 = 2 * a[1], a3 = 19 * a[3], a4 = 19 * a[4];
    return fe_fold(
        FE_PRODUCT(a[0], a[0]) + FE_PRODUCT(twice1, a4) + FE_PRODUCT(2 * a[2], a3),
        FE_PRODUCT(twice0, a[1]) + FE_PRODUCT(2 * a[2], a4) + FE_PRODUCT(a[3], a3),
        FE_PRODUCT(twice0, a[2]) + FE_PRODUCT(a[1], a[1]) + FE_PRODUCT(2 * a[3], a4),
        FE_PRODUCT(twice0, a[3]) + FE_PRODUCT(twice1, a[2]) + FE_PRODUCT(a[4], a4),
        FE_PRODUCT(twice0, a[4]) + FE_PRODUCT(twice1, a[3]) + FE_PRODUCT(a[2], a[2]));
}

static inline fe fe_sq_times(fe a, int times) {
    while (times-- > 0)
        a = fe_sq(a);
    return a;
}

/* a^(2^252 - 3), that is a^((p - 5) / 8). A name ending in _n holds a^(2^n - 1). */
static inline fe fe_pow22523(fe a) {
    fe a_2 = fe_mul(fe_sq(a), a);
    fe a_4 = fe_mul(fe_sq_times(a_2, 2), a_2);
    fe a_5 = fe_mul(fe_sq(a_4), a);
    fe a_10 = fe_mul(fe_sq_times(a_5, 5), a_5);
    fe a_20 = fe_mul(fe_sq_times(a_10, 10), a_10);
    fe a_40 = fe_mul(fe_sq_times(a_20, 20), a_20);
    fe a_50 = fe_mul(fe_sq_times(a_40, 10), a_10);
    fe a_100 = fe_mul(fe_sq_times(a_50, 50), a_50);
    fe a_200 = fe_mul(fe_sq_times(a_100, 100), a_100);
    fe a_250 = fe_mul(fe_sq_times(a_200, 50), a_50);
    return fe_mul(fe_sq_times(a_250, 2), a);
}

static inline uint64_t load64(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline void store64(uint8_t *bytes, uint64_t word) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(bytes, &word, 8);
}

/* The 255 low bits of 32 little-endian bytes, whether or not they are below p; returns tight limbs. */
static inline fe fe_decode(const uint8_t bytes[32]) {
    fe out = {{
        load64(bytes) & FE_MASK,
        (load64(bytes + 6) >> 3) & FE_MASK,
        (load64(bytes + 12) >> 6) & FE_MASK,
        (load64(bytes + 19) >> 1) & FE_MASK,
        (load64(bytes + 24) >> 12) & FE_MASK,
    }};
    return out;
}

/* The one representation that is below p. Takes limbs below 2^59. */
static inline fe fe_canonical(fe a) {
    a = fe_carry(a); /* the value is now below 2^255 + 2^13, so below 2p */
    uint64_t carry = 19;
    for (int i = 0; i < 5; i++)
        carry = (a.v[i] + carry) >> 51; /* 1 in the end if a + 19 reaches 2^255, that is if a reaches p */
    a.v[0] += 19 * carry;
    for (int i = 0; i < 4; i++) {
        a.v[i + 1] += a.v[i] >> 51;
        a.v[i] &= FE_MASK;
    }
    a.v[4] &= FE_MASK;
    return a;
}

static inline int fe_is_zero(fe a) {
    a = fe_canonical(a);
    return (a.v[0] | a.v[1] | a.v[2] | a.v[3] | a.v[4]) == 0;
}

static inline int fe_is_odd(fe a) {
    return (int)(fe_canonical(a).v[0] & 1);
}

#endif
