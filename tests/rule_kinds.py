"""Ways to make a signature, or a few that belong together, each aimed at one edge of the acceptance rule.

Most forgeries satisfy the equation of some verifier: one without the check that they aim at would accept them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random

from tests import ed25519
from tests.ed25519 import L, P
from tests.rule_signers import (
    SMALL_POINTS,
    Signer,
    any_scalar,
    any_torsion,
    commitment,
    encodings_near_p,
    join,
    mixed,
    off_curve,
    reduced,
    split,
    turned,
)

Signed = tuple[bytes, bytes]  # a message, and what stands for its signature
Kind = Callable[[Signer, Random], list[Signed]]

# SHA-512 works on blocks of 128 bytes, the last with at least 17 of padding; the first 64 hold R and A.
LENGTHS = (0, 1, 46, 47, 48, 63, 64, 65, 111, 112, 127, 128, 129, 174, 175, 176, 191, 192, 193, 239, 240, 1000)


def any_message(rng: Random) -> bytes:
    return rng.randbytes(rng.choice(LENGTHS) if rng.random() < 0.5 else rng.randrange(400))


def honest(signer: Signer, rng: Random) -> list[Signed]:
    message = any_message(rng)
    return [(message, signer.sign(message))]


def repeated(signer: Signer, rng: Random) -> list[Signed]:
    return honest(signer, rng) * _times(rng)


def same_r(signer: Signer, rng: Random) -> list[Signed]:
    """Different messages, one R: a sum may meet a point that it already holds."""
    r = any_scalar(rng)
    return [(message, signer.forge(message, r)) for message in _messages(rng, rng.randint(2, 9))]


def opposite_r(signer: Signer, rng: Random) -> list[Signed]:
    """R and -R, and three that add up to nothing."""
    r, other = any_scalar(rng), any_scalar(rng)
    scalars = rng.choice([(r, -r), (r, other, -r - other)])
    return [(message, signer.forge(message, each)) for each in scalars for message in _messages(rng, 1)]


def r_near_base(signer: Signer, rng: Random) -> list[Signed]:
    """R is a small multiple of B, as a table of B may hold it."""
    message, r = any_message(rng), rng.choice([rng.randint(1, 130), 1 << rng.randrange(252)])
    return [(message, signer.forge(message, rng.choice([r, -r])))]


def r_near_key(signer: Signer, rng: Random) -> list[Signed]:
    """R is a small multiple of A."""
    message, r = any_message(rng), rng.randint(1, 40) * signer.scalar
    return [(message, signer.forge(message, rng.choice([r, -r])))]


def mixed_r(signer: Signer, rng: Random) -> list[Signed]:
    """R has a part of small order: the equation holds with the cofactor only."""
    message, r = any_message(rng), any_scalar(rng)
    return [(message, signer.forge(message, r, shown=mixed(r, any_torsion(rng))))]


def mixed_r_cancelling(signer: Signer, rng: Random) -> list[Signed]:
    """Two parts of small order that add up to nothing."""
    torsion, r = any_torsion(rng), any_scalar(rng)
    parts = [torsion, ed25519.negate(torsion)]
    return [(m, signer.forge(m, r, shown=mixed(r, part))) for m, part in zip(_messages(rng, 2), parts, strict=True)]


def mixed_r_repeated(signer: Signer, rng: Random) -> list[Signed]:
    return mixed_r(signer, rng) * _times(rng)


def s_plus_order(signer: Signer, rng: Random) -> list[Signed]:
    message = any_message(rng)
    r, s = split(signer.sign(message))
    return [(message, join(r, s + L * rng.randint(1, (2**256 - 1 - s) // L)))]


def s_at_an_edge(signer: Signer, rng: Random) -> list[Signed]:
    message = any_message(rng)
    edges = [0, 1, L - 1, L, L + 1, 2 * L, 2**252 - 1, 2**252, 2**253 - 1, 2**253, P, 2**255 - 1, 2**255, 2**256 - 1]
    near = [L - rng.getrandbits(120), L + rng.getrandbits(120), L ^ 1 << rng.randrange(250)]
    return [(message, join(split(signer.sign(message))[0], rng.choice([*edges, *near])))]


def s_with_a_high_bit(signer: Signer, rng: Random) -> list[Signed]:
    message = any_message(rng)
    r, s = split(signer.sign(message))
    return [(message, join(r, s | 1 << rng.choice([253, 254, 255])))]


def s_shifted(signer: Signer, rng: Random) -> list[Signed]:
    message = any_message(rng)
    r, s = split(signer.sign(message))
    return [(message, join(r, (s + rng.choice([1, -1, 2**64, 2**128, L // 2, L // 8, any_scalar(rng)])) % L))]


def s_shifts_cancelling(signer: Signer, rng: Random) -> list[Signed]:
    """Valid in a sum without weights."""
    d, e = any_scalar(rng), any_scalar(rng)
    shifts = rng.choice([(d, -d), (d, d, -2 * d), (d, e, -d - e), (d, -d, e, -e), (d, -d, -d, d)])
    return [(m, signer.forge(m, any_scalar(rng), error=shift)) for shift in shifts for m in _messages(rng, 1)]


def r_shifts_cancelling(signer: Signer, rng: Random) -> list[Signed]:
    """R1 + D and R2 - D: the same on the other side of the equation."""
    d = any_scalar(rng)
    signed = []
    for shift in (d, -d):
        message, r = any_message(rng), any_scalar(rng)
        signed.append((message, signer.forge(message, r, shown=commitment(r + shift))))
    return signed


def s_exchanged(signer: Signer, rng: Random) -> list[Signed]:
    """Two receipts with each other's S."""
    first, second = _messages(rng, 2)
    (r1, s1), (r2, s2) = (split(signer.forge(message, any_scalar(rng))) for message in (first, second))
    return [(first, join(r1, s2)), (second, join(r2, s1))]


def wrong_repeated(signer: Signer, rng: Random) -> list[Signed]:
    return s_shifted(signer, rng) * _times(rng)


def r_small(signer: Signer, rng: Random) -> list[Signed]:
    """Canonical or not: the equation holds with the cofactor."""
    message = any_message(rng)
    return [(message, signer.forge(message, 0, shown=rng.choice(SMALL_POINTS)))]


def r_small_hashed_otherwise(signer: Signer, rng: Random) -> list[Signed]:
    """One encoding of a small point is shown, another of the same point hashed."""
    message = any_message(rng)
    several = [each for each in map(ed25519.encodings, ed25519.torsion()) if len(each) > 1]
    shown, hashed = rng.sample(rng.choice(several), 2)
    return [(message, signer.forge(message, 0, shown=shown, hashed=hashed))]


def r_beyond_p(signer: Signer, rng: Random) -> list[Signed]:
    """Hashed as it is shown, or as what it is modulo p."""
    message, shown = any_message(rng), rng.choice(encodings_near_p()[2])
    hashed = rng.choice([shown, reduced(shown)])
    return [(message, signer.forge(message, rng.choice([0, any_scalar(rng)]), shown=shown, hashed=hashed))]


def r_near_p(signer: Signer, rng: Random) -> list[Signed]:
    """A canonical R, often that of a point, to which the signature does not belong."""
    message, (points, others, _beyond) = any_message(rng), encodings_near_p()
    shown = rng.choice(rng.choice([points, others]))
    return [(message, signer.forge(message, rng.choice([0, any_scalar(rng)]), shown=shown))]


def r_off_curve(signer: Signer, rng: Random) -> list[Signed]:
    message = any_message(rng)
    return [(message, signer.forge(message, rng.choice([0, any_scalar(rng)]), shown=off_curve(rng)))]


def r_negated(signer: Signer, rng: Random) -> list[Signed]:
    """With R hashed as it is shown, or as it was."""
    message, r = any_message(rng), any_scalar(rng)
    shown = turned(commitment(r))
    return [(message, signer.forge(message, r, shown=shown, hashed=rng.choice([shown, turned(shown)])))]


def key_negated(signer: Signer, rng: Random) -> list[Signed]:
    """Valid for a verifier with the sign of A the other way round."""
    message, r = any_message(rng), any_scalar(rng)
    h = ed25519.challenge(commitment(r), signer.public, message)
    return [(message, join(commitment(r), (r - h * signer.scalar) % L))]


def mixed_r_hashed_without(signer: Signer, rng: Random) -> list[Signed]:
    """The part of small order was added behind the signer's back."""
    message, r = any_message(rng), any_scalar(rng)
    return [(message, signer.forge(message, r, shown=mixed(r, any_torsion(rng)), hashed=commitment(r)))]


def mixed_r_and_s_shifted(signer: Signer, rng: Random) -> list[Signed]:
    message, r = any_message(rng), any_scalar(rng)
    return [(message, signer.forge(message, r, shown=mixed(r, any_torsion(rng)), error=any_scalar(rng)))]


def halves_swapped(signer: Signer, rng: Random) -> list[Signed]:
    [(message, signature)] = honest(signer, rng)
    return [(message, signature[32:] + signature[:32])]


def bit_flipped(signer: Signer, rng: Random) -> list[Signed]:
    [(message, signature)] = honest(signer, rng)
    at, bit = rng.randrange(64), 1 << rng.randrange(8)
    return [(message, signature[:at] + bytes([signature[at] ^ bit]) + signature[at + 1 :])]


def message_changed(signer: Signer, rng: Random) -> list[Signed]:
    [(message, signature)] = honest(signer, rng)
    at = rng.randrange(len(message) + 1)
    changed = [message + b"\0", message + b"\x80", message[:at] + bytes([1 + at % 255]) + message[at:]]
    if message:
        changed += [message[:-1], message[1:], message[:-1] + bytes([message[-1] ^ 1 << rng.randrange(8)])]
    return [(rng.choice(changed), signature)]


def wrong_length(signer: Signer, rng: Random) -> list[Signed]:
    [(message, signature)] = honest(signer, rng)
    return [
        (message, rng.choice([b"", signature[:32], signature[:63], signature + b"\0", signature * 2, message[:63]]))
    ]


def hashed_otherwise(signer: Signer, rng: Random) -> list[Signed]:
    """The message hashed first, or h without the key, or with R and A in the other order."""
    message, r = any_message(rng), any_scalar(rng)
    shown = commitment(r)
    prefixes = [shown, signer.public + shown, signer.public]
    digests = [hashlib.sha512(prefix + message).digest() for prefix in prefixes]
    h = int.from_bytes(rng.choice(digests), "little")
    return [(message, rng.choice([
        join(shown, (r + h * signer.scalar) % L),
        signer.sign(hashlib.sha512(message).digest()),
    ]))]  # fmt: skip


def by_another(signer: Signer, rng: Random) -> list[Signed]:
    message, r = any_message(rng), any_scalar(rng)
    other = Signer((signer.scalar + any_scalar(rng)) % L, signer.public)
    return [(message, other.forge(message, r))]


def noise(signer: Signer, rng: Random) -> list[Signed]:
    """Bytes without sense, of which only R or only S may be out of range."""
    r, s = rng.randbytes(32), rng.choice([any_scalar(rng), rng.getrandbits(256)])
    return [(any_message(rng), rng.choice([join(r, s), join(commitment(any_scalar(rng)), s), bytes(64), b"\xff" * 64]))]


def _times(rng: Random) -> int:
    return rng.choice([2, 2, 2, 3, 3, 3, 4, 4, 17])


def _messages(rng: Random, count: int) -> list[bytes]:
    return [any_message(rng) for _ in range(count)]


def _named(*kinds: Kind) -> dict[str, Kind]:
    return {kind.__name__: kind for kind in kinds}


GOOD = _named(honest, repeated, same_r, opposite_r, r_near_base, r_near_key)
MIXED = _named(mixed_r, mixed_r_cancelling, mixed_r_repeated)  # good, where libsodium 1.0.20 says otherwise
BAD = _named(
    s_plus_order, s_at_an_edge, s_with_a_high_bit, s_shifted, s_shifts_cancelling, r_shifts_cancelling, s_exchanged,
    wrong_repeated, r_small, r_small_hashed_otherwise, r_beyond_p, r_near_p, r_off_curve, r_negated, key_negated,
    mixed_r_hashed_without, mixed_r_and_s_shifted, halves_swapped, bit_flipped, message_changed, wrong_length,
    hashed_otherwise, by_another, noise,
)  # fmt: skip
