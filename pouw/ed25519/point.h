/* Points of the curve -x^2 + y^2 = 1 + d x^2 y^2 over the field (RFC 8032, 5.1), one at a time.
 *
 * Extended coordinates and their formulas: Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited" (2008),
 * sections 3.1 and 3.3. Since -1 is a square and d is not, they hold for any two points, equal or neutral ones too.
 */
#ifndef POUW_ED25519_POINT_H
#define POUW_ED25519_POINT_H

#include "field.h"

/* (X : Y : Z : T) with x = X/Z, y = Y/Z, T = XY/Z. All tight. */
typedef struct {
    fe x, y, z, t;
} point;

/* What an addition takes of its second point: Y + X, Y - X, 2Z, 2dT. All tight. */
typedef struct {
    fe sum, difference, z2, t2d;
} cached;

static inline point point_identity(void) {
    point out = {FE_ZERO, FE_ONE, FE_ONE, FE_ZERO};
    return out;
}

static inline point point_negate(point p) {
    p.x = fe_neg(p.x);
    p.t = fe_neg(p.t);
    return p;
}

static inline cached point_cache(const point *p) {
    cached out = {
        fe_carry(fe_add(p->y, p->x)), fe_carry(fe_sub(p->y, p->x)), fe_carry(fe_add(p->z, p->z)), fe_mul(p->t, FE_2D)};
    return out;
}

/* The end of every formula: (EF : GH : FG : EH), for loose values. */
static INLINE void point_complete(point *p, fe e, fe f, fe g, fe h, int with_t) {
    p->x = fe_mul(e, f);
    p->y = fe_mul(g, h);
    p->z = fe_mul(f, g);
    if (with_t)
        p->t = fe_mul(e, h);
}

/* p = 2p. T is left as it was unless `with_t`: a doubling has no use for it. */
static inline void point_double(point *p, int with_t) {
    fe xx = fe_sq(p->x), yy = fe_sq(p->y), zz = fe_sq(p->z), both = fe_sq(fe_add(p->x, p->y));
    fe h = fe_add(xx, yy), f = fe_sub(fe_add(fe_add(zz, zz), xx), yy); /* E, F, G, H, all with their signs turned */
    point_complete(p, fe_sub(both, h), f, fe_sub(yy, xx), h, with_t);
}

/* p = p + q, or p - q where `minus`: -(x, y) is (-x, y), which turns Y + X and Y - X round, and T's sign. */
static inline void point_add(point *p, const cached *q, int minus) {
    fe a = fe_mul(fe_sub(p->y, p->x), minus ? q->sum : q->difference);
    fe b = fe_mul(fe_add(p->y, p->x), minus ? q->difference : q->sum);
    fe c = fe_mul(p->t, q->t2d), d = fe_mul(p->z, q->z2);
    fe less = fe_sub(d, c), more = fe_add(d, c);
    point_complete(p, fe_sub(b, a), minus ? more : less, minus ? less : more, fe_add(b, a), 1);
}

static inline int point_is_identity(const point *p) {
    return fe_is_zero(p->x) && fe_is_zero(fe_sub(p->y, p->z));
}

/* Whether the low 255 bits are below p. */
static inline int encodes_canonical_y(const uint8_t bytes[32]) {
    return load64(bytes) < UINT64_MAX - 18 || (load64(bytes + 8) & load64(bytes + 16)) != UINT64_MAX
           || (load64(bytes + 24) | UINT64_C(1) << 63) != UINT64_MAX;
}

/* RFC 8032, 5.1.3, step 1 to 3: x = u v^3 (u v^7)^((p - 5) / 8) is the root of u/v = (y^2 - 1)/(d y^2 + 1), or this root
 * times the root of -1, if there is a root. The rest of the steps, given x and v x^2. Returns 0 unless the bytes are the
 * one encoding of a point of the curve. */
static inline int point_finish(point *out, const uint8_t bytes[32], fe y, fe u, fe x, fe vxx) {
    int sign = bytes[31] >> 7;
    if (!encodes_canonical_y(bytes))
        return 0;
    if (!fe_is_zero(fe_sub(vxx, u))) {
        if (!fe_is_zero(fe_add(vxx, u)))
            return 0;
        x = fe_mul(x, FE_SQRT_M1);
    }
    if (fe_is_odd(x) != sign) {
        if (fe_is_zero(x))
            return 0; /* there is no -0 */
        x = fe_neg(x);
    }
    out->x = x, out->y = y, out->z = FE_ONE, out->t = fe_mul(x, y);
    return 1;
}

static inline int point_decode(point *out, const uint8_t bytes[32]) {
    fe y = fe_decode(bytes), yy = fe_sq(y);
    fe u = fe_carry(fe_sub(yy, FE_ONE)), v = fe_carry(fe_add(fe_mul(yy, FE_D), FE_ONE));
    fe v3 = fe_mul(fe_sq(v), v), uv7 = fe_mul(fe_mul(fe_sq(v3), v), u);
    fe x = fe_mul(fe_mul(u, v3), fe_pow22523(uv7));
    return point_finish(out, bytes, y, u, x, fe_mul(fe_sq(x), v));
}

/* Whether the y of a canonical encoding is that of one of the eight points of order 1, 2, 4 or 8. */
static inline int encodes_small_order(const uint8_t bytes[32]) {
    static const uint64_t small[5][4] = {
        {0x0000000000000001, 0x0000000000000000, 0x0000000000000000, 0x0000000000000000}, /* order 1: y = 1 */
        {0xffffffffffffffec, 0xffffffffffffffff, 0xffffffffffffffff, 0x7fffffffffffffff}, /* order 2: y = -1 */
        {0x0000000000000000, 0x0000000000000000, 0x0000000000000000, 0x0000000000000000}, /* order 4 */
        {0xb027b2c28f95e826, 0xf098eff289f4c345, 0x3933c6d305acdfd5, 0x05fc536d880238b1}, /* order 8 */
        {0x4fd84d3d706a17c7, 0x0f67100d760b3cba, 0xc6cc392cfa53202a, 0x7a03ac9277fdc74e}, /* order 8 */
    };
    for (int i = 0; i < 5; i++) {
        if (load64(bytes) == small[i][0] && load64(bytes + 8) == small[i][1] && load64(bytes + 16) == small[i][2]
            && (load64(bytes + 24) & (UINT64_MAX >> 1)) == small[i][3])
            return 1;
    }
    return 0;
}

#endif
