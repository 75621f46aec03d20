/* The choice of a path, and the key. No secret comes in here, so nothing runs in constant time.
 *
 * The rule, for each signature (R, S) of M by A alone, on every path (RFC 8032, 5.1.7, with the checks that it leaves
 * open; Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs", says why they matter):
 *   - S is below L;
 *   - A is the canonical encoding of a point of order L;
 *   - R is the canonical encoding of a point, not of order 1, 2, 4 or 8;
 *   - 8 (S B - h A - R) = 0, with h = SHA-512(R | A | M).
 */
#include "paths.h"
#include "scalar.h"

/* B (RFC 8032, 5.1). */
static const point BASE = {
    {{0x62d608f25d51a, 0x412a4b4f6592a, 0x75b7171a4b31d, 0x1ff60527118fe, 0x216936d3cd6e5}},
    {{0x6666666666658, 0x4cccccccccccc, 0x1999999999999, 0x3333333333333, 0x6666666666666}},
    {{1, 0, 0, 0, 0}},
    {{0x68ab3a5b7dda3, 0x00eea2a5eadbb, 0x2af8df483c27e, 0x332b375274732, 0x67875f0fd78b7}},
};

/* For fewer signatures, four lanes are mostly empty, and the doublings go faster one after the other. */
enum { AVX2_FROM = 3 };

static const ed25519_path *const PATHS[ED25519_PATHS] = {
    &ed25519_portable,
#if defined(__x86_64__)
    &ed25519_avx2,
    &ed25519_ifma,
#endif
};

int ed25519_has_path(int path) {
    if (path == ED25519_PORTABLE)
        return 1;
#if defined(__x86_64__)
    if (path == ED25519_AVX2)
        return __builtin_cpu_supports("avx2");
    if (path == ED25519_IFMA)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512ifma");
#endif
    return 0;
}

/* A point, and 2^128 times it. */
static void upper_too(point out[2], const point *p) {
    out[0] = out[1] = *p;
    for (int i = 0; i < 128; i++)
        point_double(&out[1], i == 127);
}

void ed25519_init(void) {
    point base[2];
    upper_too(base, &BASE);
    for (int path = 0; path < ED25519_PATHS; path++) {
        if (ed25519_has_path(path))
            PATHS[path]->init(base);
    }
}

/* Whether L p = 0, for a point of the curve. */
static int has_order_l(const point *p) {
    const uint64_t order[5] = {ORDER[0], ORDER[1], ORDER[2], ORDER[3], 0};
    int8_t digits[254];
    cached table[4];
    point step = *p, multiple = *p, q = point_identity();
    point_double(&step, 1);
    cached twice = point_cache(&step);
    for (int i = 0; i < 4; i++) {
        table[i] = point_cache(&multiple);
        point_add(&multiple, &twice, 0);
    }
    wnaf(digits, 1, order, 253, 4);
    for (int bit = 253; bit >= 0; bit--) {
        point_double(&q, digits[bit] != 0);
        if (digits[bit] != 0)
            point_add(&q, &table[(digits[bit] < 0 ? -digits[bit] : digits[bit]) / 2], digits[bit] < 0);
    }
    return point_is_identity(&q);
}

int ed25519_key_decode(ed25519_key *key, const uint8_t bytes[32]) {
    point p;
    if (encodes_small_order(bytes) || !point_decode(&p, bytes) || !has_order_l(&p))
        return 0;
    memcpy(key->bytes, bytes, 32);
    upper_too(key->point, &p);
    return 1;
}

int ed25519_verify(
    const ed25519_job *jobs, size_t count, const ed25519_key *key, int path, int search, void (*random)(void *, size_t),
    uint8_t *valid) {
    if (path == ED25519_AVX2 && count < AVX2_FROM)
        path = ED25519_PORTABLE;
    return PATHS[path]->verify(jobs, count, key, search, random, valid);
}
