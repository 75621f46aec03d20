"""Write pouw/protocol/ed25519_rule.json: each class of signature that verifiers disagree about, and the rule's answer.

The classes are those of Chalkias, Garillot and Nikolaenko, "Taming the many EdDSAs" (2020), and more. The facts may be
taken from a paper, its sentences and bytes are not: each vector is built here, from fixed labels, so the file is the
same each time. Run in a checkout: it draws on the reference in tests/.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests import ed25519
from tests.ed25519 import L, P
from tests.rule_signers import (
    SMALL_POINTS,
    Signer,
    commitment,
    encodings_near_p,
    from_scalar,
    from_seed,
    join,
    libsodium_accepts,
    mixed,
    reduced,
    split,
    turned,
)

PATH = Path(__file__).parents[1] / "pouw" / "protocol" / "ed25519_rule.json"
ABOUT = (
    "Ed25519 signatures by class. `valid` is what the rule of docs/protocol.md says, `libsodium` what "
    "crypto_sign_verify_detached of libsodium 1.0.20 says. Written by tools/make_rule_vectors.py."
)
TORSION = {order: ed25519.torsion()[8 // order] for order in (2, 4, 8)}
SIGNER = from_seed(hashlib.sha256(b"pouw rule: signer").digest())
BLOCK_EDGES = (0, 1, 47, 48, 63, 64, 65, 111, 112, 127, 128, 175, 176, 239, 240, 1000)


def number(label: str) -> int:
    """Return the scalar that belongs to a label."""
    return int.from_bytes(hashlib.sha512(b"pouw rule: " + label.encode()).digest(), "little") % L


SmallPart = Callable[[bytes], ed25519.Point]
A, R = number("secret"), number("nonce")


def vector(name: str, why: str, signer: Signer, message: bytes, signature: bytes, *, valid: bool) -> dict[str, Any]:
    if ed25519.is_valid(message, signature, signer.public) != valid:
        raise AssertionError(f"{name}: the reference does not say what was meant")
    return {
        "name": name,
        "why": why,
        "public_key": signer.public.hex(),
        "message": message.hex(),
        "signature": signature.hex(),
        "valid": valid,
        "libsodium": libsodium_accepts(message, signature, signer.public),
    }


def search(accept: Callable[[bytes], bool]) -> bytes:
    """Return the first of a fixed row of messages that has what a vector needs of its hash."""
    return next(m for m in (b"pouw rule %d" % i for i in itertools.count()) if accept(m))


def small_part(signer: Signer, part_of_key: ed25519.Point, shown: bytes, part_of_r: ed25519.Point) -> SmallPart:
    """Return what is left of R + h·A for a message, beside its part of prime order."""

    def left(message: bytes) -> ed25519.Point:
        h = ed25519.challenge(shown, signer.public, message)
        return ed25519.add(part_of_r, ed25519.multiply(h, part_of_key))

    return left


def vanishing(left: SmallPart) -> bytes:
    """Return a message with which the equation holds without the cofactor, too."""
    return search(lambda message: ed25519.equal(left(message), ed25519.IDENTITY))


def staying(left: SmallPart) -> bytes:
    """Return a message with which the equation holds with the cofactor only."""
    return search(lambda message: not ed25519.equal(left(message), ed25519.IDENTITY))


def good() -> Iterator[dict[str, Any]]:
    for size in BLOCK_EDGES:
        message = bytes(i % 251 for i in range(size))
        why = f"An honest signature; the hash has {64 + size} bytes, and SHA-512's blocks are of 128."
        yield vector(f"honest, {size} bytes", why, SIGNER, message, SIGNER.sign(message), valid=True)
    keys = {"1": 1, "2": 2, "8": 8, "L - 1": L - 1, "(L + 1) / 2": (L + 1) // 2}
    for name, scalar in keys.items():
        signer, why = from_scalar(scalar), "Such a key comes from no seed, and is of prime order all the same."
        yield vector(f"A is {name} times B", why, signer, b"key", signer.forge(b"key", R), valid=True)
    points = {"B": 1, "-B": -1, "16 B": 16, "A": SIGNER.scalar, "-A": -SIGNER.scalar, "2 A": 2 * SIGNER.scalar}
    for name, r in points.items():
        why = "R may be any point of prime order, and one that a verifier's table holds is no special case."
        yield vector(f"R is {name}", why, SIGNER, b"nonce", SIGNER.forge(b"nonce", r), valid=True)
    for order, part in TORSION.items():
        why = f"R has a part of order {order}, was hashed with it, and the equation holds times the cofactor."
        forged = SIGNER.forge(b"mixed", R, shown=mixed(R, part))
        yield vector(f"R of order {order} L", why, SIGNER, b"mixed", forged, valid=True)


def bad_s() -> Iterator[dict[str, Any]]:
    message = b"malleable"
    r, s = split(SIGNER.sign(message))
    for times in (1, 2, 8, (2**256 - 1 - s) // L):
        why = "The equation holds, but S has to lie below L: each signature has one encoding."
        yield vector(f"S + {times} L", why, SIGNER, message, join(r, s + times * L), valid=False)
    for bit in (253, 254, 255):
        why = "A verifier that masks S's upper bits takes it for the honest S."
        yield vector(f"S with bit {bit}", why, SIGNER, message, join(r, s | 1 << bit), valid=False)
    for name, value in {"0": 0, "L - 1": L - 1, "L": L, "L + 1": L + 1, "2^256 - 1": 2**256 - 1}.items():
        yield vector(f"S is {name}", "An edge of S's range.", SIGNER, message, join(r, value), valid=False)
    why = "S is off by one: the equation does not hold."
    yield vector("S + 1", why, SIGNER, message, join(r, s + 1), valid=False)
    yield vector("halves swapped", "S stands where R belongs.", SIGNER, message, join(r, s)[32:] + r, valid=False)


def bad_r() -> Iterator[dict[str, Any]]:
    message = b"commitment"
    for encoding in SMALL_POINTS:
        order = "canonical" if ed25519.decode(encoding) else "not canonical"
        why = f"R is of small order, {order}; the equation holds times the cofactor, whatever the message."
        forged = SIGNER.forge(message, 0, shown=encoding)
        yield vector(f"R small {encoding.hex()}", why, SIGNER, message, forged, valid=False)
    for encoding in encodings_near_p()[2]:
        if encoding not in SMALL_POINTS:
            why = "R's y is not below p."
            forged = SIGNER.forge(message, R, shown=encoding, hashed=reduced(encoding))
            yield vector(f"R beyond p {encoding.hex()}", why, SIGNER, message, forged, valid=False)
    shown = turned(commitment(R))
    others = {
        "R negated": (shown, b"", "R has the other sign, and was hashed so."),
        "R negated after hashing": (shown, commitment(R), "R's sign was turned after it was hashed."),
        "R off the curve": (encodings_near_p()[1][0], b"", "No point has R's y."),
        "R of another signature": (commitment(R + 1), b"", "R was hashed, but S belongs to another one."),
        "R mixed after hashing": (mixed(R, TORSION[8]), commitment(R), "A small part was added after the hash."),
    }
    for name, (encoding, hashed, why) in others.items():
        forged = SIGNER.forge(message, R, shown=encoding, hashed=hashed)
        yield vector(name, why, SIGNER, message, forged, valid=False)
    forged = SIGNER.forge(message, 0, shown=commitment(0), hashed=SMALL_POINTS[1])
    why = "R is small and canonical; another encoding of the same point was hashed."
    yield vector("R small, hashed otherwise", why, SIGNER, message, forged, valid=False)
    forged = SIGNER.forge(message, R, shown=mixed(R, TORSION[8]), error=1)
    why = "R has a part of order 8, and S is off by one as well."
    yield vector("R mixed, S + 1", why, SIGNER, message, forged, valid=False)


def bad_key() -> Iterator[dict[str, Any]]:
    for encoding in SMALL_POINTS:
        signer = Signer(0, encoding)
        point = ed25519.decode(encoding) or ed25519.IDENTITY
        message = vanishing(small_part(signer, point, commitment(R), ed25519.IDENTITY))
        why = "A is of small order: anybody can sign for it, here without help of the cofactor."
        yield vector(f"A small {encoding.hex()}", why, signer, message, signer.forge(message, R), valid=False)
    for order, part in TORSION.items():
        signer = Signer(A, mixed(A, part))
        message = vanishing(small_part(signer, part, commitment(R), ed25519.IDENTITY))
        why = f"A has a part of order {order}, which the hash makes vanish: only a check of A's order refuses it."
        yield vector(f"A of order {order} L", why, signer, message, signer.forge(message, R), valid=False)
    for encoding in encodings_near_p()[2]:
        if encoding not in SMALL_POINTS:
            signer = Signer(A, encoding)
            forged = signer.forge(b"key", R)
            yield vector(f"A beyond p {encoding.hex()}", "A's y is not below p.", signer, b"key", forged, valid=False)
    for name, encoding in {"off the curve": encodings_near_p()[1][0], "of all ones": b"\xff" * 32}.items():
        signer = Signer(A, encoding)
        yield vector(f"A {name}", "A is no point.", signer, b"key", signer.forge(b"key", R), valid=False)


def taming() -> Iterator[dict[str, Any]]:
    """Return the twelve classes of the paper's table of vectors, under its numbers; each holds with the cofactor."""
    order_8 = ed25519.torsion()[1]
    minus = ed25519.negate(order_8)
    small, mixed_key = Signer(0, ed25519.encode(order_8)), Signer(A, mixed(A, order_8))
    eight, mixed_r = ed25519.encode(minus), mixed(R, minus)
    _canonical, beyond = ed25519.encodings(ed25519.torsion()[2])
    beyond_key = Signer(0, beyond)
    with_key = {"small": small, "mixed": mixed_key}
    table = [
        (0, "A small, R small, S = 0", "small", 0, eight, True),
        (1, "A small, R mixed", "small", R, mixed_r, True),
        (2, "A mixed, R small", "mixed", 0, eight, True),
        (3, "A mixed, R mixed, without the cofactor too", "mixed", R, mixed_r, True),
        (4, "A mixed, R mixed, with the cofactor only", "mixed", R, mixed_r, False),
        (
            5,
            "A mixed, R of prime order, with the cofactor only",
            "mixed",
            R,
            commitment(R),
            False,
        ),
    ]
    for index, name, key, r, shown, alone in table:
        signer, part = with_key[key], ed25519.IDENTITY if shown == commitment(R) else minus
        left = small_part(signer, order_8, shown, part)
        message = vanishing(left) if alone else staying(left)
        forged = signer.forge(message, r, shown=shown)
        yield vector(f"taming {index}", f"{name}.", signer, message, forged, valid=False)
    message = b"taming"
    r_bytes, s = split(SIGNER.forge(message, R))
    yield vector("taming 6", "S above L by L.", SIGNER, message, join(r_bytes, s + L), valid=False)
    far = join(r_bytes, s + L * ((2**256 - 1 - s) // L))
    yield vector("taming 7", "S far above L.", SIGNER, message, far, valid=False)
    hashed = {8: (reduced(beyond), "its canonical form"), 9: (beyond, "the bytes as they are")}
    for index, (r_hashed, what) in hashed.items():
        forged = mixed_key.forge(message, 0, shown=beyond, hashed=r_hashed)
        why = f"A mixed, R small and not canonical, with {what} in the hash."
        yield vector(f"taming {index}", why, mixed_key, message, forged, valid=False)
    for index, (public, what) in {10: (reduced(beyond), "its canonical form"), 11: (beyond, "its bytes")}.items():
        forged = Signer(0, public).forge(message, R, shown=mixed_r)
        why = f"A small and not canonical, with {what} in the hash; R mixed."
        yield vector(f"taming {index}", why, beyond_key, message, forged, valid=False)


def build() -> dict[str, Any]:
    vectors = [*good(), *bad_s(), *bad_r(), *bad_key(), *taming()]
    return {"about": ABOUT, "p": str(P), "order": str(L), "vectors": vectors}


if __name__ == "__main__":
    PATH.write_text(json.dumps(build(), indent=1) + "\n")
    sys.stdout.write(f"{PATH.name} written\n")
