/* The inner functions of pouw/ed25519, for tests/unit/test_arithmetic.py, with limbs as they are.
 *
 * With -DWIDE those of avx2.c, else those of portable.c; what both have has one name. No field element is copied by a
 * function of the code that is tested, so that limbs come and go unchanged. */
#include <stdlib.h>

#ifdef WIDE
#include "ed25519/avx2.c"
#else
#include "ed25519/portable.c"
#endif

/* Limbs of one operand: 5, or 10 times 4 lanes. */
#ifdef WIDE
typedef fe4 element;
#else
typedef fe element;
#endif

static element take(const uint64_t *limbs) {
    element out;
    memcpy(&out, limbs, sizeof out);
    return out;
}

static void give(uint64_t *limbs, element a) {
    memcpy(limbs, &a, sizeof a);
}

int lanes(void) {
    return LANES;
}

#define UNARY(name, expression) \
    void test_##name(uint64_t *out, const uint64_t *left) { \
        element a = take(left); \
        give(out, expression); \
    }
#define BINARY(name, expression) \
    void test_##name(uint64_t *out, const uint64_t *left, const uint64_t *right) { \
        element a = take(left), b = take(right); \
        give(out, expression); \
    }

#ifdef WIDE
BINARY(add, fe4_add(a, b))
BINARY(sub, fe4_sub(a, b))
BINARY(mul, fe4_mul(&a, &b))
UNARY(sq, fe4_sq(&a))
UNARY(carry, fe4_carry(a))
UNARY(pow22523, fe4_pow22523(&a))

/* Through memory, and into a product, since unpacked limbs are not clean. */
void test_packed_mul(uint64_t *out, const uint64_t *left, const uint64_t *right) {
    element a = take(left), b = take(right);
    fe4_packed packed = fe4_pack(&b);
    b = fe4_unpack(&packed);
    give(out, fe4_mul(&a, &b));
}

void test_gather(uint64_t *out, const fe in[4]) {
    give(out, fe4_gather(&in[0], &in[1], &in[2], &in[3]));
}

void test_scatter(fe out[4], const uint64_t *in) {
    element a = take(in);
    fe4_scatter(out, &a);
}
#else
BINARY(add, fe_add(a, b))
BINARY(sub, fe_sub(a, b))
BINARY(mul, fe_mul(a, b))
UNARY(sq, fe_sq(a))
UNARY(carry, fe_carry(a))
UNARY(neg, fe_neg(a))
UNARY(canonical, fe_canonical(a))
UNARY(pow22523, fe_pow22523(a))

void test_decode(uint64_t *out, const uint8_t *bytes) {
    give(out, fe_decode(bytes));
}

int test_is_zero(const uint64_t *in) {
    return fe_is_zero(take(in));
}

int test_is_odd(const uint64_t *in) {
    return fe_is_odd(take(in));
}

int test_scalar_is_canonical(const uint8_t *bytes) {
    return scalar_is_canonical(bytes);
}

void test_wide_add_product(uint64_t *sum, const uint64_t *z, const uint8_t *bytes, int limbs) {
    wide_add_product((wide *)sum, z, bytes, limbs);
}

void test_wide_reduce(uint64_t *out, const uint64_t *sum) {
    scalar r = wide_reduce((const wide *)sum);
    memcpy(out, r.v, sizeof r.v);
}

void test_shift_in(uint64_t *r, uint32_t word32) {
    scalar_shift_in(r, word32);
}

void test_wnaf(int8_t *digits, size_t stride, const uint64_t *x, int bits, int width) {
    wnaf(digits, stride, x, bits, width);
}

int test_small_order(const uint8_t *bytes) {
    return encodes_small_order(bytes);
}

int test_canonical_y(const uint8_t *bytes) {
    return encodes_canonical_y(bytes);
}
#endif

/* Points: four field elements of five limbs, X, Y, Z, T. */
static NAME(point) load(const uint64_t *limbs) {
    point p;
    memcpy(&p, limbs, sizeof p);
    return NAME(load)(&p);
}

static void store(uint64_t *limbs, NAME(point) p) {
#ifdef WIDE
    fe xtzy[4];
    fe4_scatter(xtzy, &p);
    point q = {xtzy[0], xtzy[3], xtzy[2], xtzy[1]};
    memcpy(limbs, &q, sizeof q);
#else
    memcpy(limbs, &p, sizeof p);
#endif
}

/* What a point was before counts too: a path may leave T alone. */
void test_double(uint64_t *out, const uint64_t *in, int with_t) {
    NAME(point) p = load(in);
    NAME(double)(&p, with_t);
    store(out, p);
}

void test_add_points(uint64_t *out, const uint64_t *left, const uint64_t *right, int minus) {
    NAME(point) p = load(left), q = load(right);
    NAME(cached) c = NAME(cache)(&q);
    NAME(add)(&p, &c, minus);
    store(out, p);
}

/* times double, then add, then double: the values of a path pass from one formula to the next as they are. */
void test_chain(uint64_t *out, const uint64_t *left, const uint64_t *right, int minus, int times) {
    NAME(point) p = load(left), q = load(right);
    for (int i = 0; i < times; i++) {
        NAME(cached) c = NAME(cache)(&q);
        NAME(double)(&p, 1);
        NAME(add)(&p, &c, minus);
        NAME(double)(&q, 1);
    }
    store(out, p);
}

int test_is_identity(const uint64_t *in) {
    NAME(point) p = load(in);
    return NAME(is_identity)(&p);
}

/* LANES encodings of 32 bytes. */
void test_decode_points(uint64_t *out, int *good, const uint8_t *encodings) {
    const uint8_t *bytes[LANES];
    NAME(point) p[LANES];
    for (int lane = 0; lane < LANES; lane++)
        bytes[lane] = encodings + 32 * lane;
    NAME(decode)(p, good, bytes);
    for (int lane = 0; lane < LANES; lane++)
        store(out + 20 * lane, p[lane]);
}

void test_odd_multiples(uint64_t *out, const uint64_t *in, int size) {
    NAME(cached) *table = aligned_alloc(64, (size_t)size * sizeof(NAME(cached)) + 64);
    const point identity = point_identity();
    NAME(fill_table)(table, size, load(in));
    for (int i = 0; i < size; i++) {
        NAME(point) p = NAME(load)(&identity);
        NAME(add)(&p, &table[i], 0);
        store(out + 20 * i, p);
    }
    free(table);
}

/* LANES hashes of SHA-512(R | key | message). */
void test_hash(uint8_t *out, const ed25519_job *in, const uint8_t *key) {
    const ed25519_job *jobs[LANES];
    uint8_t *hashes[LANES];
    for (int lane = 0; lane < LANES; lane++)
        jobs[lane] = &in[lane], hashes[lane] = out + 64 * lane;
    NAME(hash)(hashes, jobs, key);
}
