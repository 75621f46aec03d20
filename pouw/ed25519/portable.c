/* Verification in portable C: 64-bit limbs, one point at a time. */
#include "paths.h"
#include "point.h"

#define NAME(x) portable_##x
#define LANES 1
typedef uint64_t word;
typedef point portable_point;
typedef cached portable_cached;

static inline point portable_load(const point *p) {
    return *p;
}

static inline void portable_double(point *p, int with_t) {
    point_double(p, with_t);
}

static inline void portable_add(point *p, const cached *q, int minus) {
    point_add(p, q, minus);
}

static inline cached portable_cache(const point *p) {
    return point_cache(p);
}

static inline int portable_is_identity(const point *p) {
    return point_is_identity(p);
}

static inline void portable_decode(point out[1], int good[1], const uint8_t *const bytes[1]) {
    good[0] = point_decode(&out[0], bytes[0]);
}

#include "equation.h"

const ed25519_path ed25519_portable = {portable_init, portable_verify};
