/* What each way to compute offers to verify.c. */
#ifndef POUW_ED25519_PATHS_H
#define POUW_ED25519_PATHS_H

#include "point.h"
#include "verify.h"

typedef struct {
    void (*init)(const point *base);
    int (*verify)(
        const ed25519_job *jobs, size_t count, const ed25519_key *key, void (*random)(void *, size_t), uint8_t *valid);
} ed25519_path;

extern const ed25519_path ed25519_portable;
#if defined(__x86_64__)
extern const ed25519_path ed25519_avx2;
#endif

static inline point point_of_key(const ed25519_key *key) {
    point out;
    memcpy(out.x.v, key->x, sizeof out.x.v);
    memcpy(out.y.v, key->y, sizeof out.y.v);
    out.z = FE_ONE;
    out.t = fe_mul(out.x, out.y);
    return out;
}

#endif
