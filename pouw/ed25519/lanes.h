/* Points whose four coordinates lie in four lanes of a vector, one beside the other where there are more lanes.
 *
 * The formulas of point.h. A template: whoever includes it defines NAME(x), UNROLL (before a loop over limbs), POINTS (how
 * many points a vector holds), and
 *   vec, LIMBS                     a vector of 64-bit lanes, and how many of them hold a field element in each lane
 *   NAME(fe)                       a struct of vec v[LIMBS]; "tight" is what NAME(fe_mul) and NAME(fe_sq) return
 *   NAME(fe_x)                     add, sub, mul, sq, all, gather and scatter, as the field's header has them
 *   NAME(form), NAME(pack)(const NAME(fe) *, NAME(form) *const out[POINTS]), NAME(unpack)(const NAME(form) *const in[POINTS])
 *                                  how one point's coordinates are kept in memory
 *   FACTOR(x)                      turns a sum or a difference of two tight values into what can be multiplied
 *   CARRY(x)                       makes sums and differences of several tight values tight
 *   PLUS(x, y), MINUS(x, y), TWICE_P(limb)
 *   PERMUTE(x, a, b, c, d), SWAP_PAIRS(x)   the lanes a, b, c, d of each point; its lanes 1, 0, 3, 2
 *   BLEND(x, y, lanes), KEEP(x, lanes)   the lanes, as a number of four bits, from y, the others from x, or zeros
 */

/* Points in the lanes X, T, Z, Y, so that the formulas below need few permutations. Tight. */
typedef NAME(fe) NAME(point);

/* Y - X, Y + X, 2dT, 2Z of a point and of its negative, fit to be multiplied: so that an addition need not ask for the
 * sign. */
typedef struct {
    NAME(form) form[2];
} NAME(cached);

typedef struct {
    const NAME(cached) *point;
    int minus;
} NAME(term);

/* a^(2^times) b */
static inline NAME(fe) NAME(raise)(NAME(fe) a, int times, const NAME(fe) *b) {
    while (times-- > 0)
        a = NAME(fe_sq)(&a);
    return NAME(fe_mul)(&a, b);
}

/* As fe_pow22523. */
static inline NAME(fe) NAME(pow22523)(const NAME(fe) *a) {
    NAME(fe) a_2 = NAME(raise)(*a, 1, a);
    NAME(fe) a_4 = NAME(raise)(a_2, 2, &a_2);
    NAME(fe) a_5 = NAME(raise)(a_4, 1, a);
    NAME(fe) a_10 = NAME(raise)(a_5, 5, &a_5);
    NAME(fe) a_20 = NAME(raise)(a_10, 10, &a_10);
    NAME(fe) a_40 = NAME(raise)(a_20, 20, &a_20);
    NAME(fe) a_50 = NAME(raise)(a_40, 10, &a_10);
    NAME(fe) a_100 = NAME(raise)(a_50, 50, &a_50);
    NAME(fe) a_200 = NAME(raise)(a_100, 100, &a_100);
    NAME(fe) a_250 = NAME(raise)(a_200, 50, &a_50);
    return NAME(raise)(a_250, 2, a);
}

/* The first steps of point_decode() in every lane: from y to u, to x, and to v x^2. */
static inline void NAME(find_x)(NAME(fe) *u, NAME(fe) *x, NAME(fe) *vxx, const NAME(fe) *y) {
    const NAME(fe) one = NAME(fe_all)(&FE_ONE), d = NAME(fe_all)(&FE_D);
    NAME(fe) yy = NAME(fe_sq)(y), v = NAME(fe_mul)(&yy, &d);
    *u = CARRY(NAME(fe_sub)(yy, one));
    v = CARRY(NAME(fe_add)(v, one));
    NAME(fe) v3 = NAME(raise)(v, 1, &v), power = NAME(raise)(v3, 1, &v);
    power = NAME(fe_mul)(&power, u);
    power = NAME(pow22523)(&power);
    *x = NAME(fe_mul)(u, &v3);
    *x = NAME(fe_mul)(x, &power);
    *vxx = NAME(raise)(*x, 1, &v);
}

enum { LANE_0 = 1, LANE_1 = 2, LANE_2 = 4, LANE_3 = 8 };

/* (E, H, F, G), fit to be multiplied, to (EF, EH, FG, GH): X, T, Z, Y. */
static INLINE NAME(fe) NAME(complete)(const NAME(fe) *ehfg) {
    NAME(fe) right;
    UNROLL
    for (int i = 0; i < LIMBS; i++)
        right.v[i] = PERMUTE(ehfg->v[i], 2, 0, 3, 1); /* F, E, G, H */
    return NAME(fe_mul)(ehfg, &right);
}

/* The formulas of point_double(). */
static inline void NAME(double)(NAME(point) *p, int with_t) {
    NAME(fe) q, ehfg;
    (void)with_t; /* T's product is made beside the others */
    UNROLL
    for (int i = 0; i < LIMBS; i++) { /* X, X + Y, Z, Y */
        vec both = PLUS(SWAP_PAIRS(p->v[i]), PERMUTE(p->v[i], 3, 3, 3, 3));
        q.v[i] = BLEND(p->v[i], both, LANE_1);
    }
    q = FACTOR(q);
    q = NAME(fe_sq)(&q);
    UNROLL
    for (int i = 0; i < LIMBS; i++) {
        vec xx = PERMUTE(q.v[i], 0, 0, 0, 0), yy = PERMUTE(q.v[i], 3, 3, 3, 3);
        vec base = BLEND(SWAP_PAIRS(q.v[i]), q.v[i], LANE_2 | LANE_3);           /* both, XX, ZZ, YY */
        vec plus = PLUS(KEEP(PLUS(q.v[i], xx), LANE_2), KEEP(yy, LANE_1));       /* 0, YY, ZZ + XX, 0 */
        vec minus = PLUS(KEEP(xx, LANE_0 | LANE_3), KEEP(yy, LANE_0 | LANE_2));  /* XX + YY, 0, YY, XX */
        vec four_p = PLUS(TWICE_P(i), TWICE_P(i));
        ehfg.v[i] = PLUS(PLUS(base, plus), MINUS(four_p, minus));
    }
    ehfg = CARRY(ehfg);
    *p = NAME(complete)(&ehfg);
}

/* (Y - X, Y + X, T, Z) of (X, T, Z, Y), fit to be multiplied. */
static INLINE NAME(fe) NAME(turn)(const NAME(point) *p) {
    NAME(fe) out;
    UNROLL
    for (int i = 0; i < LIMBS; i++) {
        vec x = PERMUTE(p->v[i], 0, 0, 0, 0), rest = PERMUTE(p->v[i], 3, 3, 1, 2);
        vec signed_x = BLEND(x, MINUS(TWICE_P(i), x), LANE_0);
        out.v[i] = PLUS(rest, KEEP(signed_x, LANE_0 | LANE_1));
    }
    return FACTOR(out);
}

/* The formulas of point_add(), with a term for each point. */
static inline void NAME(add)(NAME(point) *p, const NAME(term) terms[POINTS]) {
    const NAME(form) *forms[POINTS];
    for (int i = 0; i < POINTS; i++)
        forms[i] = &terms[i].point->form[terms[i].minus];
    NAME(fe) left = NAME(turn)(p), right = NAME(unpack)(forms), ehfg;
    NAME(fe) abcd = NAME(fe_mul)(&left, &right);
    UNROLL
    for (int i = 0; i < LIMBS; i++) { /* B - A, A + B, D - C, C + D */
        vec less = MINUS(TWICE_P(i), abcd.v[i]);
        ehfg.v[i] = PLUS(SWAP_PAIRS(abcd.v[i]), BLEND(abcd.v[i], less, LANE_0 | LANE_2));
    }
    ehfg = FACTOR(ehfg);
    *p = NAME(complete)(&ehfg);
}

static inline void NAME(cache)(NAME(cached) *const out[POINTS], const NAME(point) *p) {
    NAME(form) *forms[2][POINTS];
    NAME(fe) factors, turned = NAME(turn)(p), minus;
    fe two = fe_add(FE_ONE, FE_ONE);
    const fe *each[4 * POINTS];
    for (int i = 0; i < POINTS; i++) {
        each[4 * i] = each[4 * i + 1] = &FE_ONE, each[4 * i + 2] = &FE_2D, each[4 * i + 3] = &two;
        forms[0][i] = &out[i]->form[0], forms[1][i] = &out[i]->form[1];
    }
    factors = NAME(fe_gather)(each);
    NAME(fe) plus = NAME(fe_mul)(&turned, &factors);
    UNROLL
    for (int i = 0; i < LIMBS; i++) { /* Y and X change places, T its sign */
        vec swapped = BLEND(SWAP_PAIRS(plus.v[i]), plus.v[i], LANE_2 | LANE_3);
        minus.v[i] = BLEND(swapped, MINUS(TWICE_P(i), plus.v[i]), LANE_2);
    }
    minus = FACTOR(minus);
    NAME(pack)(&plus, forms[0]);
    NAME(pack)(&minus, forms[1]);
}

static inline NAME(point) NAME(load)(const point p[POINTS]) {
    const fe *coordinates[4 * POINTS];
    for (int i = 0; i < POINTS; i++) {
        coordinates[4 * i] = &p[i].x, coordinates[4 * i + 1] = &p[i].t;
        coordinates[4 * i + 2] = &p[i].z, coordinates[4 * i + 3] = &p[i].y;
    }
    return NAME(fe_gather)(coordinates);
}

static inline int NAME(is_identity)(const NAME(point) *p) {
    fe c[4 * POINTS];
    NAME(fe_scatter)(c, p);
    return fe_is_zero(c[0]) && fe_is_zero(fe_sub(c[3], c[2]));
}
