/* Verification with AVX-512 IFMA: four coordinates of two points at a time, eight encodings, eight hashes. */
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512ifma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")
#endif

#include "field_ifma.h"
#include "paths.h"
#include "point.h"

#define NAME(x) ifma_##x
#define LANES 8
#define POINTS 2
typedef uint64_t word __attribute__((vector_size(64)));

#define LIMBS 5
typedef __m512i vec;
typedef fe8 ifma_fe;
#define ifma_fe_add fe8_add
#define ifma_fe_sub fe8_sub
#define ifma_fe_mul fe8_mul
#define ifma_fe_sq fe8_sq
#define ifma_fe_all fe8_all
#define ifma_fe_gather fe8_gather
#define ifma_fe_scatter fe8_scatter
#define FACTOR(x) fe8_carry(x)
#define CARRY(x) fe8_carry(x)
#define PLUS(x, y) FE8_PLUS(x, y)
#define MINUS(x, y) _mm512_sub_epi64(x, y)
#define TWICE_P(limb) fe8_twice_p(limb)
#define PERMUTE(x, a, b, c, d) _mm512_permutex_epi64(x, (a) | (b) << 2 | (c) << 4 | (d) << 6)
#define SWAP_PAIRS(x) _mm512_shuffle_epi32(x, 0x4E)
#define BLEND(x, y, lanes) _mm512_mask_mov_epi64(x, (__mmask8)((lanes) * 0x11), y)
#define KEEP(x, lanes) _mm512_maskz_mov_epi64((__mmask8)((lanes) * 0x11), x)

/* One point's coordinates. */
typedef struct {
    __m256i v[5];
} ifma_form;

static INLINE void ifma_pack(const fe8 *a, ifma_form *const out[2]) {
    UNROLL
    for (int i = 0; i < 5; i++) {
        out[0]->v[i] = _mm512_castsi512_si256(a->v[i]);
        out[1]->v[i] = _mm512_extracti64x4_epi64(a->v[i], 1);
    }
}

static INLINE fe8 ifma_unpack(const ifma_form *const in[2]) {
    fe8 out;
    UNROLL
    for (int i = 0; i < 5; i++)
        out.v[i] = _mm512_inserti64x4(_mm512_castsi256_si512(in[0]->v[i]), in[1]->v[i], 1);
    return out;
}

#include "lanes.h"

/* The two points k and k + 1 of eight, whose coordinates are given. */
static inline fe8 ifma_pair(const fe8 *x, const fe8 *t, const fe8 *z, const fe8 *y, int k) {
    /* Lane k of the first operand, lane k of the second one, and twice what is not looked at; then k + 1. */
    const __m512i lanes = _mm512_add_epi64(_mm512_setr_epi64(0, 8, 0, 8, 1, 9, 1, 9), _mm512_set1_epi64(k));
    fe8 out;
    UNROLL
    for (int i = 0; i < 5; i++) {
        __m512i xt = _mm512_permutex2var_epi64(x->v[i], lanes, t->v[i]);
        __m512i zy = _mm512_permutex2var_epi64(z->v[i], lanes, y->v[i]);
        out.v[i] = BLEND(xt, zy, LANE_2 | LANE_3);
    }
    return out;
}

/* The steps of point_decode() and point_finish(). */
static inline void ifma_decode(fe8 out[4], int good[8], const uint8_t *const bytes[8]) {
    fe ys[8];
    const fe *each[8];
    __mmask8 canonical = 0, signs = 0;
    for (int lane = 0; lane < 8; lane++) {
        ys[lane] = fe_decode(bytes[lane]), each[lane] = &ys[lane];
        canonical |= (__mmask8)(encodes_canonical_y(bytes[lane]) << lane);
        signs |= (__mmask8)(bytes[lane][31] >> 7 << lane);
    }
    const fe8 one = fe8_all(&FE_ONE), zero = fe8_all(&FE_ZERO), root = fe8_all(&FE_SQRT_M1);
    fe8 u, x, vxx, y = fe8_gather(each);
    ifma_find_x(&u, &x, &vxx, &y);
    fe8 other = fe8_mul(&x, &root);
    __mmask8 is_root = fe8_zeros(fe8_sub(vxx, u)), is_other = fe8_zeros(fe8_add(vxx, u));
    x = fe8_choose(is_root, other, x);
    __mmask8 turned = fe8_odds(x) ^ signs, found = canonical & (is_root | is_other);
    found &= (__mmask8)~(turned & fe8_zeros(x)); /* there is no -0 */
    x = fe8_choose(turned, x, fe8_carry(fe8_sub(zero, x)));
    x = fe8_choose(found, zero, x), y = fe8_choose(found, one, y);
    fe8 t = fe8_mul(&x, &y);
    for (int k = 0; k < 8; k += 2)
        out[k / 2] = ifma_pair(&x, &t, &one, &y, k);
    for (int lane = 0; lane < 8; lane++)
        good[lane] = found >> lane & 1;
}

/* Both points added up. */
static inline fe8 ifma_fold(fe8 p) {
    ifma_cached both[2];
    ifma_cached *const out[2] = {&both[0], &both[1]};
    const ifma_term turned[2] = {{&both[1], 0}, {&both[0], 0}};
    ifma_cache(out, &p);
    ifma_add(&p, turned);
    return p;
}

#include "equation.h"

const ed25519_path ed25519_ifma = {ifma_init, ifma_verify};

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
