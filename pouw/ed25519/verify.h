/* Ed25519 verification of many signatures by one key. The rule for each is in verify.c. */
#ifndef POUW_ED25519_VERIFY_H
#define POUW_ED25519_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "point.h"

typedef struct {
    const uint8_t *signature; /* 64 bytes: R, S */
    const uint8_t *message;
    size_t size;
} ed25519_job;

/* A public key that was decoded once: its bytes, its point, and 2^128 times that. */
typedef struct {
    uint8_t bytes[32];
    point point[2];
} ed25519_key;

/* The ways to compute, the fastest last; see ed25519_has_path(). */
enum { ED25519_PORTABLE, ED25519_AVX2, ED25519_IFMA, ED25519_PATHS };

/* Prepares the tables. Call once, before anything else. */
void ed25519_init(void);

/* Whether this build and this CPU have a path. */
int ed25519_has_path(int path);

/* Takes in a key; returns 0 unless it is the canonical encoding of a point of prime order. */
int ed25519_key_decode(ed25519_key *key, const uint8_t bytes[32]);

/* Says of each of `count` signatures whether it is valid: valid[i] is 1 or 0. Without `search`, where an equation does not
 * hold, all of its signatures get 0: whoever asks does not know yet which of them are valid.
 *
 * `random` fills a buffer with bytes that a signer cannot foresee. Returns -1 where there is no memory, else 0. */
int ed25519_verify(
    const ed25519_job *jobs, size_t count, const ed25519_key *key, int path, int search, void (*random)(void *, size_t),
    uint8_t *valid);

#endif
