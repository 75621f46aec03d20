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
typedef uint64_t word __attribute__((vector_size(32)));

/* A point in the lanes X, T, Z, Y, so that the formulas below need few permutations. Tight. */
typedef fe4 avx2_point;

/* Y - X, Y + X, 2dT, 2Z of a point and of its negative, loose: so that an addition need not ask for the sign. */
typedef struct {
    fe4_packed form[2];
} avx2_cached;

/* Which 64-bit lanes of a vector count, as a number of four bits. */
#define LANE_MASK(lanes) \
    _mm256_set_epi64x(-((lanes) >> 3 & 1), -((lanes) >> 2 & 1), -((lanes) >> 1 & 1), -((lanes) & 1))
#define KEEP(x, lanes) _mm256_and_si256(x, LANE_MASK(lanes))
#define PERMUTE(x, a, b, c, d) _mm256_permute4x64_epi64(x, (a) | (b) << 2 | (c) << 4 | (d) << 6)
#define SWAP_PAIRS(x) _mm256_shuffle_epi32(x, 0x4E) /* lanes 1, 0, 3, 2 */
enum { LANE_0 = 1, LANE_1 = 2, LANE_2 = 4, LANE_3 = 8 };

static inline fe4 avx2_load(const point *p) {
    return fe4_gather(&p->x, &p->t, &p->z, &p->y);
}

/* (E, H, F, G), loose, to (EF, EH, FG, GH): X, T, Z, Y. */
static INLINE fe4 avx2_complete(const fe4 *ehfg) {
    fe4 right;
    UNROLL
    for (int i = 0; i < 10; i++)
        right.v[i] = PERMUTE(ehfg->v[i], 2, 0, 3, 1); /* F, E, G, H */
    return fe4_mul(ehfg, &right);
}

/* The formulas of point_double(). */
static inline void avx2_double(fe4 *p, int with_t) {
    fe4 q, ehfg;
    (void)with_t; /* T's product is made beside the others */
    UNROLL
    for (int i = 0; i < 10; i++) { /* X, X + Y, Z, Y */
        __m256i both = FE4_PLUS(SWAP_PAIRS(p->v[i]), PERMUTE(p->v[i], 3, 3, 3, 3));
        q.v[i] = _mm256_blend_epi32(p->v[i], both, 0x0C);
    }
    q = fe4_sq(&q);
    UNROLL
    for (int i = 0; i < 10; i++) {
        __m256i xx = PERMUTE(q.v[i], 0, 0, 0, 0), yy = PERMUTE(q.v[i], 3, 3, 3, 3);
        __m256i base = _mm256_blend_epi32(SWAP_PAIRS(q.v[i]), q.v[i], 0xF0);               /* both, XX, ZZ, YY */
        __m256i plus = FE4_PLUS(KEEP(FE4_PLUS(q.v[i], xx), LANE_2), KEEP(yy, LANE_1));     /* 0, YY, ZZ + XX, 0 */
        __m256i minus = FE4_PLUS(KEEP(xx, LANE_0 | LANE_3), KEEP(yy, LANE_0 | LANE_2));    /* XX + YY, 0, YY, XX */
        __m256i four_p = FE4_PLUS(fe4_twice_p(i), fe4_twice_p(i));
        ehfg.v[i] = FE4_PLUS(FE4_PLUS(base, plus), _mm256_sub_epi64(four_p, minus));
    }
    ehfg = fe4_carry(ehfg);
    *p = avx2_complete(&ehfg);
}

/* (Y - X, Y + X, T, Z) of (X, T, Z, Y), loose. */
static INLINE fe4 avx2_turn(const fe4 *p) {
    fe4 out;
    UNROLL
    for (int i = 0; i < 10; i++) {
        __m256i x = PERMUTE(p->v[i], 0, 0, 0, 0), rest = PERMUTE(p->v[i], 3, 3, 1, 2);
        __m256i signed_x = _mm256_blend_epi32(x, _mm256_sub_epi64(fe4_twice_p(i), x), 0x03);
        out.v[i] = FE4_PLUS(rest, KEEP(signed_x, LANE_0 | LANE_1));
    }
    return out;
}

/* The formulas of point_add(). */
static inline void avx2_add(fe4 *p, const avx2_cached *q, int minus) {
    fe4 left = avx2_turn(p), right = fe4_unpack(&q->form[minus]), ehfg;
    fe4 abcd = fe4_mul(&left, &right);
    UNROLL
    for (int i = 0; i < 10; i++) { /* B - A, A + B, D - C, C + D */
        __m256i less = _mm256_sub_epi64(fe4_twice_p(i), abcd.v[i]);
        ehfg.v[i] = FE4_PLUS(SWAP_PAIRS(abcd.v[i]), _mm256_blend_epi32(abcd.v[i], less, 0x33));
    }
    *p = avx2_complete(&ehfg);
}

static inline avx2_cached avx2_cache(const fe4 *p) {
    fe two = fe_add(FE_ONE, FE_ONE);
    fe4 factors = fe4_gather(&FE_ONE, &FE_ONE, &FE_2D, &two), turned = avx2_turn(p), minus;
    fe4 plus = fe4_mul(&turned, &factors);
    UNROLL
    for (int i = 0; i < 10; i++) { /* Y and X change places, T its sign */
        __m256i swapped = _mm256_blend_epi32(plus.v[i], SWAP_PAIRS(plus.v[i]), 0x0F);
        minus.v[i] = _mm256_blend_epi32(swapped, _mm256_sub_epi64(fe4_twice_p(i), plus.v[i]), 0x30);
    }
    avx2_cached out = {{fe4_pack(&plus), fe4_pack(&minus)}};
    return out;
}

static inline int avx2_is_identity(const fe4 *p) {
    fe c[4];
    fe4_scatter(c, p);
    return fe_is_zero(c[0]) && fe_is_zero(fe_sub(c[3], c[2]));
}

/* The steps of point_decode(). */
static inline void avx2_decode(fe4 out[4], int good[4], const uint8_t *const bytes[4]) {
    fe y[4], us[4], xs[4], vxxs[4];
    for (int lane = 0; lane < 4; lane++)
        y[lane] = fe_decode(bytes[lane]);
    const fe4 one = fe4_gather(&FE_ONE, &FE_ONE, &FE_ONE, &FE_ONE), d = fe4_gather(&FE_D, &FE_D, &FE_D, &FE_D);
    fe4 yy = fe4_gather(&y[0], &y[1], &y[2], &y[3]);
    yy = fe4_sq(&yy);
    fe4 u = fe4_carry(fe4_sub(yy, one)), v = fe4_mul(&yy, &d);
    v = fe4_carry(fe4_add(v, one));
    fe4 v3 = fe4_raise(v, 1, &v), power = fe4_raise(v3, 1, &v);
    power = fe4_mul(&power, &u);
    power = fe4_pow22523(&power);
    fe4 x = fe4_mul(&u, &v3);
    x = fe4_mul(&x, &power);
    fe4 vxx = fe4_raise(x, 1, &v);
    fe4_scatter(us, &u), fe4_scatter(xs, &x), fe4_scatter(vxxs, &vxx);
    for (int lane = 0; lane < 4; lane++) {
        point p = point_identity();
        good[lane] = point_finish(&p, bytes[lane], y[lane], us[lane], xs[lane], vxxs[lane]);
        out[lane] = avx2_load(&p);
    }
}

#include "equation.h"

const ed25519_path ed25519_avx2 = {avx2_init, avx2_verify};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
