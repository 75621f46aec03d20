/* What each way to compute offers to verify.c. */
#ifndef POUW_ED25519_PATHS_H
#define POUW_ED25519_PATHS_H

#include "point.h"
#include "verify.h"

typedef struct {
    void (*init)(const point base[2]); /* B and 2^128 B */
    int (*verify)(
        const ed25519_job *jobs, size_t count, const ed25519_key *key, int search, void (*random)(void *, size_t),
        uint8_t *valid);
} ed25519_path;

extern const ed25519_path ed25519_portable;
#if defined(__x86_64__)
extern const ed25519_path ed25519_avx2, ed25519_ifma;
#endif

#endif
