/* Verification in portable C: 64-bit limbs, one point at a time. */
#include "paths.h"
#include "point.h"

#define NAME(x) portable_##x
#define LANES 1
#define POINTS 1
typedef uint64_t word;
typedef point portable_point;
typedef cached portable_cached;

typedef struct {
    const cached *point;
    int minus;
} portable_term;

static inline point portable_load(const point p[1]) {
    return p[0];
}

static inline void portable_double(point *p, int with_t) {
    point_double(p, with_t);
}

static inline void portable_add(point *p, const portable_term terms[1]) {
    point_add(p, terms[0].point, terms[0].minus);
}

static inline void portable_cache(cached *const out[1], const point *p) {
    *out[0] = point_cache(p);
}

static inline point portable_fold(point p) {
    return p;
}

static inline int portable_is_identity(const point *p) {
    return point_is_identity(p);
}

static inline void portable_decode(point out[1], int good[1], const uint8_t *const bytes[1]) {
    good[0] = point_decode(&out[0], bytes[0]);
}

#include "equation.h"

const ed25519_path ed25519_portable = {portable_init, portable_verify};
