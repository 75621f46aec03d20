/* Verification with AVX2: four coordinates of a point at a time, four encodings, four hashes. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#include "field_avx2.h"
#include "paths.h"
#include "point.h"

#define NAME(x) avx2_##x
#define LANES 4
#define POINTS 1
typedef uint64_t word __attribute__((vector_size(32)));

#define LIMBS 10
typedef __m256i vec;
typedef fe4 avx2_fe;
typedef fe4_packed avx2_form;
#define avx2_fe_add fe4_add
#define avx2_fe_sub fe4_sub
#define avx2_fe_mul fe4_mul
#define avx2_fe_sq fe4_sq
#define avx2_fe_all fe4_all
#define avx2_fe_gather fe4_gather
#define avx2_fe_scatter fe4_scatter
#define FACTOR(x) (x)
#define CARRY(x) fe4_carry(x)
#define PLUS(x, y) FE4_PLUS(x, y)
#define MINUS(x, y) _mm256_sub_epi64(x, y)
#define TWICE_P(limb) fe4_twice_p(limb)
#define PERMUTE(x, a, b, c, d) _mm256_permute4x64_epi64(x, (a) | (b) << 2 | (c) << 4 | (d) << 6)
#define SWAP_PAIRS(x) _mm256_shuffle_epi32(x, 0x4E)
/* What counts as a lane here are two of the instruction's. */
#define BLEND(x, y, lanes) _mm256_blend_epi32(x, y, 3 * (((lanes) & 1) | ((lanes) & 2) << 1 | ((lanes) & 4) << 2 | ((lanes) & 8) << 3))
#define KEEP(x, lanes) BLEND(_mm256_setzero_si256(), x, lanes)

static INLINE void avx2_pack(const fe4 *a, fe4_packed *const out[1]) {
    *out[0] = fe4_pack(a);
}

static INLINE fe4 avx2_unpack(const fe4_packed *const in[1]) {
    return fe4_unpack(in[0]);
}

#include "lanes.h"

/* The steps of point_decode(). */
static inline void avx2_decode(fe4 out[4], int good[4], const uint8_t *const bytes[4]) {
    fe ys[4], us[4], xs[4], vxxs[4];
    const fe *each[4];
    fe4 u, x, vxx;
    for (int lane = 0; lane < 4; lane++)
        ys[lane] = fe_decode(bytes[lane]), each[lane] = &ys[lane];
    const fe4 y = fe4_gather(each);
    avx2_find_x(&u, &x, &vxx, &y);
    fe4_scatter(us, &u), fe4_scatter(xs, &x), fe4_scatter(vxxs, &vxx);
    for (int lane = 0; lane < 4; lane++) {
        point p = point_identity();
        good[lane] = point_finish(&p, bytes[lane], ys[lane], us[lane], xs[lane], vxxs[lane]);
        out[lane] = avx2_load(&p);
    }
}

static INLINE fe4 avx2_fold(fe4 p) {
    return p;
}

#include "equation.h"

const ed25519_path ed25519_avx2 = {avx2_init, avx2_verify};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
