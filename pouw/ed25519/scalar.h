/* Integers modulo the group's order L = 2^252 + C, and sums of products that are reduced once in the end. */
#ifndef POUW_ED25519_SCALAR_H
#define POUW_ED25519_SCALAR_H

#include "field.h"

static const uint64_t ORDER[4] = {0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, UINT64_C(1) << 60};

/* A scalar with a limb to spare, so that wnaf() may read past the end. */
typedef struct {
    uint64_t v[5];
} scalar;

/* A sum of up to 2^64 products of 128 by 512 bits. */
typedef struct {
    uint64_t v[11];
} wide;

/* RFC 8032, 5.1.7: S has to lie below L, or one signature would have several encodings. */
static inline int scalar_is_canonical(const uint8_t bytes[32]) {
    for (int i = 3; i >= 0; i--) {
        uint64_t limb = load64(bytes + 8 * i);
        if (limb != ORDER[i])
            return limb < ORDER[i];
    }
    return 0;
}

/* sum += z * (the little-endian integer of `limbs` 64-bit limbs), where z has two limbs. */
static inline void wide_add_product(wide *sum, const uint64_t z[2], const uint8_t *bytes, int limbs) {
    for (int j = 0; j < 2; j++) {
        uint64_t carry = 0;
        for (int i = 0; i < limbs; i++) {
            uint128_t t = (uint128_t)z[j] * load64(bytes + 8 * i) + sum->v[i + j] + carry;
            sum->v[i + j] = (uint64_t)t;
            carry = (uint64_t)(t >> 64);
        }
        for (int i = limbs + j; i < 11; i++) {
            uint128_t t = (uint128_t)sum->v[i] + carry;
            sum->v[i] = (uint64_t)t;
            carry = (uint64_t)(t >> 64);
        }
    }
}

/* r = 2^32 r + word mod L, for r below L.
 *
 * With n = 2^32 r + word = high * 2^252 + low, n is low - high * C modulo L. There high is below 2^33, so high * C lies
 * below 2^158, low lies below 2^252 and so below L, and one addition of L makes a negative difference right. */
static inline void scalar_shift_in(uint64_t r[4], uint32_t word) {
    uint64_t high = r[3] >> 28;
    r[3] = ((r[3] << 32) | (r[2] >> 32)) & ((UINT64_C(1) << 60) - 1);
    r[2] = (r[2] << 32) | (r[1] >> 32);
    r[1] = (r[1] << 32) | (r[0] >> 32);
    r[0] = (r[0] << 32) | word;
    uint128_t low = (uint128_t)high * ORDER[0], mid = (uint128_t)high * ORDER[1] + (uint64_t)(low >> 64);
    uint64_t take[4] = {(uint64_t)low, (uint64_t)mid, (uint64_t)(mid >> 64), 0};
    uint64_t borrow = 0;
    for (int i = 0; i < 4; i++) {
        uint128_t t = (uint128_t)r[i] - take[i] - borrow;
        r[i] = (uint64_t)t;
        borrow = (uint64_t)(t >> 64) & 1;
    }
    if (!borrow)
        return;
    uint64_t carry = 0;
    for (int i = 0; i < 4; i++) {
        uint128_t t = (uint128_t)r[i] + ORDER[i] + carry;
        r[i] = (uint64_t)t;
        carry = (uint64_t)(t >> 64);
    }
}

/* The sum modulo L. */
static inline scalar wide_reduce(const wide *sum) {
    scalar out = {{0, 0, 0, 0, 0}};
    for (int i = 10; i >= 0; i--) {
        scalar_shift_in(out.v, (uint32_t)(sum->v[i] >> 32));
        scalar_shift_in(out.v, (uint32_t)sum->v[i]);
    }
    return out;
}

/* Width-w non-adjacent form: x = sum of digits[i] * 2^i, each digit 0 or odd and below 2^(w-1) in size, and of any w
 * digits in a row at most one is not 0. x lies below 2^bits and has a limb of zeros above; there are bits + 1 digits,
 * the i-th of them at digits[i * stride]. */
static inline void wnaf(int8_t *digits, size_t stride, const uint64_t *x, int bits, int width) {
    uint64_t carry = 0, mask = (UINT64_C(1) << width) - 1;
    int at = 0;
    for (int i = 0; i <= bits; i++)
        digits[(size_t)i * stride] = 0;
    while (at <= bits) {
        int limb = at / 64, shift = at % 64;
        uint64_t word = x[limb] >> shift;
        if (shift + width > 64)
            word |= x[limb + 1] << (64 - shift);
        uint64_t window = carry + (word & mask);
        if ((window & 1) == 0) {
            at++;
            continue;
        }
        carry = window >> (width - 1);
        digits[(size_t)at * stride] = (int8_t)((int64_t)window - (int64_t)(carry << width));
        at += width;
    }
}

#endif
