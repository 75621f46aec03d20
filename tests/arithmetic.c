/* The inner functions of pouw/ed25519, for tests/unit/test_arithmetic.py, with limbs as they are.
 *
 * Those of avx2.c with -DWITH_AVX2, of ifma.c with -DWITH_IFMA, else of portable.c; what several have has one name. No
 * field element is copied by a function of the code that is tested, so that limbs come and go unchanged. */
#include <stdlib.h>

#if defined(WITH_AVX2)
#include "ed25519/avx2.c"
#define FE(x) fe4_##x
#define TARGET "avx2"
typedef fe4 element;
#elif defined(WITH_IFMA)
#include "ed25519/ifma.c"
#define FE(x) fe8_##x
#define TARGET "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma"
typedef fe8 element;
#else
#include "ed25519/portable.c"
typedef fe element;
#endif

/* clang's attribute ends with the file that was included. */
#if defined(TARGET) && defined(__clang__)
#pragma clang attribute push(__attribute__((target(TARGET))), apply_to = function)
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

int points(void) {
    return POINTS;
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

#ifdef FE
BINARY(add, FE(add)(a, b))
BINARY(sub, FE(sub)(a, b))
BINARY(mul, FE(mul)(&a, &b))
UNARY(sq, FE(sq)(&a))
UNARY(carry, FE(carry)(a))
UNARY(pow22523, NAME(pow22523)(&a))

/* Through memory, and into a product, since unpacked limbs are not clean. */
void test_packed_mul(uint64_t *out, const uint64_t *left, const uint64_t *right) {
    element a = take(left), b = take(right);
    NAME(form) *const forms = aligned_alloc(64, (POINTS * sizeof(NAME(form)) + 63) / 64 * 64);
    NAME(form) *packed[POINTS];
    const NAME(form) *unpacked[POINTS];
    for (int i = 0; i < POINTS; i++)
        packed[i] = &forms[i], unpacked[i] = &forms[i];
    NAME(pack)(&b, packed);
    b = NAME(unpack)(unpacked);
    give(out, FE(mul)(&a, &b));
    free(forms);
}

void test_gather(uint64_t *out, const fe in[LANES]) {
    const fe *values[LANES];
    for (int lane = 0; lane < LANES; lane++)
        values[lane] = &in[lane];
    give(out, FE(gather)(values));
}

void test_scatter(fe out[LANES], const uint64_t *in) {
    element a = take(in);
    FE(scatter)(out, &a);
}
#ifdef WITH_IFMA
UNARY(canonical, fe8_canonical(a))

/* Of each lane, whether it is 0 modulo p, and whether it is odd below p. */
void test_zeros_and_odds(int *zeros, int *odds, const uint64_t *in) {
    element a = take(in);
    for (int lane = 0; lane < LANES; lane++) {
        zeros[lane] = fe8_zeros(a) >> lane & 1;
        odds[lane] = fe8_odds(a) >> lane & 1;
    }
}
#endif
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

/* Points, as many as a path has side by side: of each four field elements of five limbs, X, Y, Z, T. */
static NAME(point) load(const uint64_t *limbs) {
    point p[POINTS];
    memcpy(p, limbs, sizeof p);
    return NAME(load)(p);
}

static void store(uint64_t *limbs, NAME(point) p) {
#ifdef FE
    fe xtzy[LANES > 4 * POINTS ? LANES : 4 * POINTS];
    FE(scatter)(xtzy, &p);
    for (int i = 0; i < POINTS; i++) {
        point q = {xtzy[4 * i], xtzy[4 * i + 3], xtzy[4 * i + 2], xtzy[4 * i + 1]};
        memcpy(limbs + 20 * i, &q, sizeof q);
    }
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
    NAME(cached) kept[POINTS];
    NAME(term) terms[POINTS];
    NAME(terms_of)(terms, kept, &q, minus);
    NAME(add)(&p, terms);
    store(out, p);
}

/* times double, then add, then double: the values of a path pass from one formula to the next as they are. */
void test_chain(uint64_t *out, const uint64_t *left, const uint64_t *right, int minus, int times) {
    NAME(point) p = load(left), q = load(right);
    for (int i = 0; i < times; i++) {
        NAME(cached) kept[POINTS];
        NAME(term) terms[POINTS];
        NAME(terms_of)(terms, kept, &q, minus);
        NAME(double)(&p, 1);
        NAME(add)(&p, terms);
        NAME(double)(&q, 1);
    }
    store(out, p);
}

/* All points of a vector added up, in the place of the first; the others are not to be looked at. */
void test_fold(uint64_t *out, const uint64_t *in) {
    uint64_t limbs[20 * POINTS];
    store(limbs, NAME(fold)(load(in)));
    memcpy(out, limbs, 20 * sizeof limbs[0]);
}

/* As many terms as there are signs, of which each is a whole vector's; the sum is folded. */
void test_add_terms(uint64_t *out, const uint64_t *in, const int *minus, int count) {
    NAME(cached) *kept = aligned_alloc(64, ((size_t)count * sizeof *kept + 63) / 64 * 64);
    NAME(term) terms[64 + POINTS];
    for (int i = 0; i < count; i++) {
        point same[POINTS];
        for (int k = 0; k < POINTS; k++)
            memcpy(&same[k], in + 20 * i, sizeof same[k]);
        NAME(point) p = NAME(load)(same);
        NAME(cached) each[POINTS];
        NAME(term) own[POINTS];
        NAME(terms_of)(own, each, &p, minus[i]);
        kept[i] = each[POINTS - 1];
        terms[i].point = &kept[i], terms[i].minus = minus[i];
    }
    point identity[POINTS];
    for (int k = 0; k < POINTS; k++)
        identity[k] = point_identity();
    NAME(point) q = NAME(load)(identity);
    NAME(add_terms)(&q, terms, (size_t)count);
    uint64_t limbs[20 * POINTS];
    store(limbs, NAME(fold)(q));
    memcpy(out, limbs, 20 * sizeof limbs[0]);
    free(kept);
}

/* Of the first point. */
int test_is_identity(const uint64_t *in) {
    NAME(point) p = load(in);
    return NAME(is_identity)(&p);
}

/* LANES encodings of 32 bytes. */
void test_decode_points(uint64_t *out, int *good, const uint8_t *encodings) {
    const uint8_t *bytes[LANES];
    NAME(point) p[LANES / POINTS];
    for (int lane = 0; lane < LANES; lane++)
        bytes[lane] = encodings + 32 * lane;
    NAME(decode)(p, good, bytes);
    for (int i = 0; i < LANES / POINTS; i++)
        store(out + 20 * POINTS * i, p[i]);
}

/* Of each point's table one multiple after the other. */
void test_odd_multiples(uint64_t *out, const uint64_t *in, int size) {
    NAME(cached) *tables[POINTS];
    for (int k = 0; k < POINTS; k++)
        tables[k] = aligned_alloc(64, (size_t)size * sizeof(NAME(cached)) + 64);
    NAME(fill_tables)(tables, size, load(in));
    for (int i = 0; i < size; i++) {
        point identity[POINTS];
        NAME(term) terms[POINTS];
        for (int k = 0; k < POINTS; k++)
            identity[k] = point_identity(), terms[k].point = &tables[k][i], terms[k].minus = 0;
        NAME(point) p = NAME(load)(identity);
        NAME(add)(&p, terms);
        store(out + 20 * POINTS * i, p);
    }
    for (int k = 0; k < POINTS; k++)
        free(tables[k]);
}

/* LANES hashes of SHA-512(R | key | message). */
void test_hash(uint8_t *out, const ed25519_job *in, const uint8_t *key) {
    const ed25519_job *jobs[LANES];
    uint8_t *hashes[LANES];
    for (int lane = 0; lane < LANES; lane++)
        jobs[lane] = &in[lane], hashes[lane] = out + 64 * lane;
    NAME(hash)(hashes, jobs, key);
}

#if defined(TARGET) && defined(__clang__)
#pragma clang attribute pop
#endif
