/* One equation for many signatures by one key, and the search for those that break it. A template, see below.
 *
 * For signatures (R_i, S_i) on messages M_i by the key A, h_i = SHA-512(R_i | A | M_i), and random z_i of 128 bits
 * (Bernstein, Duif, Lange, Schwabe, Yang, "High-speed high-security signatures", section 5), all are valid if
 *
 *     8 ( (sum z_i S_i) B - (sum z_i h_i) A - sum z_i R_i ) = 0,
 *
 * and if one is not, that holds with a probability of 2^-128: 8 times its own error has the prime order L. Since all
 * have the same key, B and A appear once. The sum is Straus's: the doublings are shared, and each scalar is a
 * non-adjacent form over a table of odd multiples. What B and A are multiplied by is cut into halves, the upper one of
 * 2^128 B and 2^128 A, so that no scalar here has more than 128 bits.
 *
 * Whoever includes this defines NAME(x), LANES, POINTS and `word` (see sha512.h), and
 *   NAME(point), NAME(cached)                    POINTS points side by side, and what an addition takes of one
 *   NAME(term)                                   a summand: const NAME(cached) *point, and whether it counts as `minus`
 *   NAME(load)(const point[POINTS])              points of point.h in this form
 *   NAME(double)(NAME(point) *, int with_t), NAME(add)(NAME(point) *, const NAME(term)[POINTS])   in place
 *   NAME(cache)(NAME(cached) *const out[POINTS], const NAME(point) *)
 *   NAME(fold)(NAME(point))                      with the sum of the points in the place of the first
 *   NAME(is_identity)(const NAME(point) *)       whether the first is neutral
 *   NAME(decode)(NAME(point) out[LANES / POINTS], int good[LANES], const uint8_t *const bytes[LANES])
 *                                                point_decode() of LANES points
 */
#include <stdlib.h>

#include "scalar.h"
#include "sha512.h"
#include "verify.h"

#ifndef POUW_ED25519_EQUATION_H
#define POUW_ED25519_EQUATION_H
enum {
    CHUNK = 128,  /* signatures in one equation at most: the shared doublings weigh little by then */
    BITS = 128,   /* of a scalar */
    Z_WIDTH = 4,
    Z_TABLE = 4,  /* 1, 3, 5, 7 times */
    A_WIDTH = 5,
    A_TABLE = 8,
    B_WIDTH = 8,
    B_TABLE = 64,
    ALIGNMENT = 64,
};

/* One block of R | A | M with FIPS 180-4's padding; zeros beyond the last one. */
static inline void sha512_fill(uint8_t out[128], size_t block, size_t blocks, const ed25519_job *job, const uint8_t key[32]) {
    size_t start = block * 128, taken = 0, size = 64 + job->size;
    memset(out, 0, 128);
    if (block >= blocks)
        return;
    if (block == 0) {
        memcpy(out, job->signature, 32);
        memcpy(out + 32, key, 32);
        taken = 64;
    }
    if (start + taken < size) {
        size_t rest = size - start - taken;
        memcpy(out + taken, job->message + (start + taken - 64), rest < 128 - taken ? rest : 128 - taken);
    }
    if (size >= start && size < start + 128)
        out[size - start] = 0x80;
    if (block + 1 == blocks)
        store64(out + 120, __builtin_bswap64((uint64_t)size * 8));
}
#endif

/* The signatures of one equation, and what is kept of each while the bad ones are searched for. */
typedef struct {
    size_t count;
    size_t index[CHUNK]; /* its place among the jobs */
    const uint8_t *s[CHUNK];
    int z_bits;
    uint64_t z[CHUNK][3]; /* a limb of zeros above, for wnaf() */
    uint8_t hash[CHUNK][64];
    int8_t digits[BITS + 1][CHUNK];
    NAME(cached) r[CHUNK][Z_TABLE], spare[Z_TABLE];
    NAME(cached) a[2][A_TABLE];
} NAME(batch);

static NAME(cached) NAME(base_table)[2][B_TABLE], NAME(neutral);

static void NAME(cache_at)(NAME(cached) *const tables[POINTS], int i, const NAME(point) *p) {
    NAME(cached) *out[POINTS];
    for (int k = 0; k < POINTS; k++)
        out[k] = &tables[k][i];
    NAME(cache)(out, p);
}

/* The points of p as terms, which are kept in `kept`. */
static inline void NAME(terms_of)(NAME(term) terms[POINTS], NAME(cached) kept[POINTS], const NAME(point) *p, int minus) {
    NAME(cached) *out[POINTS];
    for (int k = 0; k < POINTS; k++)
        out[k] = &kept[k], terms[k].point = &kept[k], terms[k].minus = minus;
    NAME(cache)(out, p);
}

/* Odd multiples of each point: tables[k][i] = (2i + 1) p. */
static void NAME(fill_tables)(NAME(cached) *const tables[POINTS], int size, NAME(point) p) {
    NAME(cache_at)(tables, 0, &p);
    if (size == 1)
        return;
    NAME(point) twice = p;
    NAME(cached) kept[POINTS];
    NAME(term) steps[POINTS];
    NAME(double)(&twice, 1);
    NAME(terms_of)(steps, kept, &twice, 0);
    for (int i = 1; i < size; i++) {
        NAME(add)(&p, steps);
        NAME(cache_at)(tables, i, &p);
    }
}

/* Tables of two points. */
static void NAME(fill_two)(NAME(cached) *first, NAME(cached) *second, int size, const point points[2]) {
    NAME(cached) *const tables[2] = {first, second};
    for (int k = 0; k < 2; k += POINTS)
        NAME(fill_tables)(&tables[k], size, NAME(load)(&points[k]));
}

/* digit times the table's point, turned round where `minus`. */
static inline NAME(term) NAME(pick)(const NAME(cached) *table, int digit, int minus) {
    NAME(term) out = {&table[(digit < 0 ? -digit : digit) / 2], (digit < 0) != minus};
    return out;
}

/* Add terms up, POINTS at a time, each kind into another point of q. */
static void NAME(add_terms)(NAME(point) *q, NAME(term) *terms, size_t count) {
    for (; count % POINTS != 0; count++)
        terms[count].point = &NAME(neutral), terms[count].minus = 0;
    for (size_t i = 0; i < count; i += POINTS)
        NAME(add)(q, &terms[i]);
}

/* The digits of the sums of z S and of z h over the signatures from..to-1, modulo L and in halves. */
static void NAME(known_digits)(int8_t digits[4][BITS + 1], const NAME(batch) *batch, size_t from, size_t to) {
    wide sums[2] = {{{0}}, {{0}}};
    for (size_t i = from; i < to; i++) {
        wide_add_product(&sums[0], batch->z[i], batch->s[i], 4);
        wide_add_product(&sums[1], batch->z[i], batch->hash[i], 8);
    }
    for (int k = 0; k < 4; k++) {
        scalar sum = wide_reduce(&sums[k / 2]);
        const uint64_t half[3] = {sum.v[k % 2 * 2], sum.v[k % 2 * 2 + 1], 0};
        wnaf(digits[k], 1, half, BITS, k < 2 ? B_WIDTH : A_WIDTH);
    }
}

/* The sum in the equation over the signatures from..to-1 of a batch, before it is multiplied by 8; as the sum of the
 * points of what is returned. */
static NAME(point) NAME(sum)(const NAME(batch) *batch, size_t from, size_t to) {
    int8_t digits[4][BITS + 1];
    NAME(known_digits)(digits, batch, from, to);
    const point identity[2] = {point_identity(), point_identity()};
    NAME(point) q = NAME(load)(identity);
    for (int bit = BITS; bit >= 0; bit--) {
        NAME(term) terms[4 + CHUNK + POINTS];
        size_t count = 0;
        for (int k = 0; k < 4; k++) {
            if (digits[k][bit] != 0)
                terms[count++] = NAME(pick)(k < 2 ? NAME(base_table)[k] : batch->a[k - 2], digits[k][bit], k >= 2);
        }
        for (size_t i = from; bit <= batch->z_bits && i < to; i++) {
            if (batch->digits[bit][i] != 0)
                terms[count++] = NAME(pick)(batch->r[i], batch->digits[bit][i], 1);
        }
        NAME(double)(&q, count > 0 || bit == 0); /* an addition needs T, and whoever gets the sum may add */
        NAME(add_terms)(&q, terms, count);
    }
    return q;
}

static int NAME(vanishes)(NAME(point) q) {
    q = NAME(fold)(q);
    for (int i = 0; i < 3; i++)
        NAME(double)(&q, 0);
    return NAME(is_identity)(&q);
}

/* Mark the valid ones among from..to-1, whose sum is given.
 *
 * The halves keep their z: what a half's equation says is wrong with a probability of 2^-128 like the whole's, and the
 * right half's sum is the difference. In the worst case, with no good signature, that is one sum a signature. */
static void NAME(judge)(
    const NAME(batch) *batch, size_t from, size_t to, NAME(point) sum, int search, uint8_t *valid) {
    if (NAME(vanishes)(sum)) {
        for (size_t i = from; i < to; i++)
            valid[batch->index[i]] = 1;
    } else if (search && to - from > 1) {
        size_t middle = from + (to - from) / 2;
        NAME(point) left = NAME(sum)(batch, from, middle);
        NAME(cached) kept[POINTS];
        NAME(term) lefts[POINTS];
        NAME(terms_of)(lefts, kept, &left, 1);
        NAME(add)(&sum, lefts);
        NAME(judge)(batch, from, middle, left, search, valid);
        NAME(judge)(batch, middle, to, sum, search, valid);
    }
}

/* SHA-512(R | A | M) of LANES jobs. Lanes whose message has ended go on with the others, and are not looked at. */
static void NAME(hash)(uint8_t *const out[LANES], const ed25519_job *const jobs[LANES], const uint8_t key[32]) {
    word state[8], w[16];
    uint64_t lanes[16][LANES];
    size_t blocks[LANES], most = 0;
    for (int lane = 0; lane < LANES; lane++) {
        blocks[lane] = (64 + jobs[lane]->size + 1 + 16 + 127) / 128;
        if (blocks[lane] > most)
            most = blocks[lane];
    }
    for (int i = 0; i < 8; i++)
        state[i] = (word){0} + SHA512_START[i];
    for (size_t block = 0; block < most; block++) {
        for (int lane = 0; lane < LANES; lane++) {
            uint8_t bytes[128];
            sha512_fill(bytes, block, blocks[lane], jobs[lane], key);
            for (int i = 0; i < 16; i++)
                lanes[i][lane] = __builtin_bswap64(load64(bytes + 8 * i));
        }
        memcpy(w, lanes, sizeof w);
        NAME(sha512_block)(state, w);
        memcpy(lanes, state, sizeof state);
        for (int lane = 0; lane < LANES; lane++) {
            for (int i = 0; block + 1 == blocks[lane] && i < 8; i++)
                store64(out[lane] + 8 * i, __builtin_bswap64(lanes[i][lane]));
        }
    }
}

/* Take in the jobs first..last-1 whose S and R are what they have to be; the others are invalid already. */
static void NAME(admit)(NAME(batch) *batch, const ed25519_job *jobs, size_t first, size_t last) {
    size_t candidates[CHUNK], found = 0;
    for (size_t i = first; i < last; i++) {
        if (scalar_is_canonical(jobs[i].signature + 32) && !encodes_small_order(jobs[i].signature))
            candidates[found++] = i;
    }
    batch->count = 0;
    for (size_t at = 0; at < found; at += LANES) {
        const uint8_t *encoded[LANES];
        NAME(point) r[LANES / POINTS];
        int good[LANES];
        for (size_t lane = 0; lane < LANES; lane++)
            encoded[lane] = jobs[candidates[at + lane < found ? at + lane : at]].signature;
        NAME(decode)(r, good, encoded);
        for (size_t lane = 0; lane < LANES; lane += POINTS) {
            NAME(cached) *tables[POINTS];
            for (size_t k = 0; k < POINTS; k++) {
                tables[k] = batch->spare;
                if (at + lane + k >= found || !good[lane + k])
                    continue;
                batch->index[batch->count] = candidates[at + lane + k];
                tables[k] = batch->r[batch->count++];
            }
            NAME(fill_tables)(tables, last - first == 1 ? 1 : Z_TABLE, r[lane / POINTS]);
        }
    }
}

static void NAME(hash_all)(NAME(batch) *batch, const ed25519_job *jobs, const uint8_t key[32]) {
    for (size_t at = 0; at < batch->count; at += LANES) {
        const ed25519_job *job[LANES];
        uint8_t spare[64], *out[LANES];
        for (size_t lane = 0; lane < LANES; lane++) {
            int there = at + lane < batch->count;
            job[lane] = &jobs[batch->index[there ? at + lane : at]];
            out[lane] = there ? batch->hash[at + lane] : spare;
        }
        NAME(hash)(out, job, key);
    }
}

/* Draw the z_i; one signature alone needs none, and its equation is then exact. */
static void NAME(draw)(NAME(batch) *batch, int alone, void (*random)(void *, size_t)) {
    uint64_t drawn[CHUNK][2] = {{1, 0}};
    batch->z_bits = alone ? 0 : BITS;
    if (!alone)
        random(drawn, batch->count * sizeof drawn[0]);
    for (size_t i = 0; i < batch->count; i++) {
        batch->z[i][0] = drawn[i][0], batch->z[i][1] = drawn[i][1], batch->z[i][2] = 0;
        wnaf(&batch->digits[0][i], CHUNK, batch->z[i], BITS, Z_WIDTH);
    }
}

static void NAME(init)(const point base[2]) {
    const point identity[2] = {point_identity(), point_identity()};
    NAME(fill_two)(&NAME(neutral), &NAME(neutral), 1, identity);
    NAME(fill_two)(NAME(base_table)[0], NAME(base_table)[1], B_TABLE, base);
}

/* ed25519_verify() on one path. */
static int NAME(verify)(
    const ed25519_job *jobs, size_t count, const ed25519_key *key, int search, void (*random)(void *, size_t),
    uint8_t *valid) {
    NAME(batch) *batch = aligned_alloc(ALIGNMENT, (sizeof *batch + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (batch == NULL)
        return -1;
    NAME(fill_two)(batch->a[0], batch->a[1], A_TABLE, key->point);
    memset(valid, 0, count);
    for (size_t first = 0, last; first < count; first = last) {
        last = count - first < CHUNK ? count : first + CHUNK;
        NAME(admit)(batch, jobs, first, last);
        for (size_t i = 0; i < batch->count; i++)
            batch->s[i] = jobs[batch->index[i]].signature + 32;
        NAME(hash_all)(batch, jobs, key->bytes);
        NAME(draw)(batch, last - first == 1, random);
        if (batch->count > 0)
            NAME(judge)(batch, 0, batch->count, NAME(sum)(batch, 0, batch->count), search, valid);
    }
    free(batch);
    return 0;
}
