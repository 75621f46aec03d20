"""Keys, good and bad, with scalars that sign for them; the encodings that forgeries are made of; libsodium's answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nacl import bindings
from nacl.exceptions import BadSignatureError

from tests import ed25519
from tests.ed25519 import L, P

if TYPE_CHECKING:
    from random import Random

SMALL_POINTS = [encoding for point in ed25519.torsion() for encoding in ed25519.encodings(point)]


@dataclass(frozen=True, slots=True)
class Signer:
    """A secret scalar and the key that it claims to belong to; one with a seed signs as RFC 8032 says."""

    scalar: int
    public: bytes
    seed: bytes = b""
    good: bool = True  # the key is canonical and of prime order

    def sign(self, message: bytes) -> bytes:
        if self.seed:
            return bindings.crypto_sign(message, self.seed + self.public)[: ed25519.SIGNATURE_BYTES]
        return self.forge(message, 1 + int.from_bytes(hashlib.sha256(message).digest(), "little"))

    def forge(self, message: bytes, r: int, shown: bytes = b"", hashed: bytes = b"", error: int = 0) -> bytes:
        """Return R and S = r + h·a + error, where R may be shown, or hashed, as something else than r·B."""
        shown = shown or commitment(r)
        h = ed25519.challenge(hashed or shown, self.public, message)
        return join(shown, (r + h * self.scalar + error) % L)


def commitment(r: int) -> bytes:
    return ed25519.encode(ed25519.multiply_base(r))


def join(r: bytes, s: int) -> bytes:
    return r + s.to_bytes(32, "little")


def split(signature: bytes) -> tuple[bytes, int]:
    return signature[:32], int.from_bytes(signature[32:], "little")


def from_seed(seed: bytes) -> Signer:
    """Return the key pair of RFC 8032, 5.1.5."""
    clamped = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little") & (1 << 254) - 8 | 1 << 254
    return Signer(clamped % L, commitment(clamped), seed)


def from_scalar(scalar: int) -> Signer:
    return Signer(scalar, commitment(scalar))


def any_scalar(rng: Random) -> int:
    return rng.randrange(1, L)


def any_torsion(rng: Random) -> ed25519.Point:
    return ed25519.torsion()[rng.randrange(1, 8)]


def mixed(scalar: int, torsion: ed25519.Point) -> bytes:
    """Return the encoding of scalar·B and a point of small order."""
    return ed25519.encode(ed25519.add(ed25519.multiply_base(scalar), torsion))


def turned(encoding: bytes) -> bytes:
    """Return the encoding with its sign bit turned."""
    return encoding[:31] + bytes([encoding[31] ^ 0x80])


def reduced(encoding: bytes) -> bytes:
    """Return the encoding with its y modulo p."""
    sign, y = divmod(int.from_bytes(encoding, "little"), 2**255)
    return (y % P | sign << 255).to_bytes(32, "little")


@cache
def encodings_near_p() -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return all encodings with a y from p - 20 on: of points not small, of no point, and those with y >= p."""
    points, others, beyond = list[bytes](), list[bytes](), list[bytes]()
    for y in range(P - 20, 2**255):
        for encoding in (y.to_bytes(32, "little"), turned(y.to_bytes(32, "little"))):
            if y >= P:
                beyond.append(encoding)
            elif encoding not in SMALL_POINTS:
                (points if ed25519.decode(encoding) else others).append(encoding)
    return points, others, beyond


def off_curve(rng: Random) -> bytes:
    while True:
        candidate = (rng.randrange(P) | rng.randrange(2) << 255).to_bytes(32, "little")
        if ed25519.decode(candidate) is None:
            return candidate


def bad_signer(rng: Random) -> Signer:
    """Return a key that names no client, with the scalar that would satisfy a verifier that lets the key pass."""
    scalar = any_scalar(rng)
    _points, others, beyond = encodings_near_p()
    keys = [
        (rng.choice(SMALL_POINTS), 0),
        (mixed(scalar, any_torsion(rng)), scalar),
        (rng.choice(beyond), scalar),
        (rng.choice(others), scalar),
        (off_curve(rng), scalar),
    ]
    public, scalar = rng.choice(keys)
    return Signer(scalar, public, good=False)


def any_signer(rng: Random) -> Signer:
    draw = rng.random()
    if draw < 0.06:
        return bad_signer(rng)
    if draw < 0.2:
        return from_scalar(rng.choice([1, 2, 3, 8, L - 1, L - 2, (L + 1) // 2, 2**252, any_scalar(rng)]))
    return from_seed(rng.randbytes(32))


def libsodium_accepts(message: bytes, signature: bytes, key: bytes) -> bool:
    """Return the answer of PyNaCl's libsodium, whose rule differs where R or the key has a part of small order."""
    if len(signature) != ed25519.SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True
