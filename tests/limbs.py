"""The inner functions of pouw/ed25519 from Python: compiled, called with limbs as they are, and their limbs' bounds.

The bounds are those that the comments in field.h, field_avx2.h and field_ifma.h state. A representation is a list of
limbs.
"""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pouw import _fastverify
from tests.ed25519 import P
from tools.instrumented import default_compiler

if TYPE_CHECKING:
    from random import Random

    from tests.ed25519 import Point

Limbs = list[int]

FOLDER = Path(__file__).parents[1] / "pouw" / "ed25519"
SOURCE = Path(__file__).parent / "arithmetic.c"


@dataclass(frozen=True)
class Field:
    """How integers modulo p lie in limbs, and how large those may be: each bound is the first that is too large.

    ``loose`` values can be multiplied, ``carried`` ones made tight.
    """

    name: str
    widths: tuple[int, ...]
    tight: tuple[int, ...]
    loose: tuple[int, ...]
    carried: tuple[int, ...]
    lanes: int = 1
    points: int = 1

    @property
    def weights(self) -> list[int]:
        return [1 << width for width in itertools.accumulate(self.widths[:-1], initial=0)]

    def value(self, limbs: Limbs) -> int:
        return sum(limb * weight for limb, weight in zip(limbs, self.weights, strict=True))

    def is_tight(self, limbs: Limbs) -> bool:
        return all(limb < bound for limb, bound in zip(limbs, self.tight, strict=True))

    def split(self, value: int) -> Limbs:
        """Return the limbs nearest to hand."""
        return [value // weight % (1 << width) for weight, width in zip(self.weights, self.widths, strict=True)]

    def represent(self, value: int, bounds: tuple[int, ...], rng: Random) -> Limbs:
        """Return limbs within bounds of an integer, often not those that are nearest to hand."""
        value %= P
        if value + P < 2**255 and rng.random() < 0.5:
            value += P
        limbs = self.split(value)
        for _ in range(rng.randrange(30)):
            at = rng.randrange(len(limbs))  # a part of the limb above goes down; above the last one, 2^255 is 19
            above, price = (at + 1, 1) if at + 1 < len(limbs) else (0, 19)
            most = min(limbs[above] // price, (bounds[at] - 1 - limbs[at]) >> self.widths[at])
            part = most if rng.random() < 0.5 else rng.randint(0, max(most, 0))
            if part > 0:
                limbs[above] -= part * price
                limbs[at] += part << self.widths[at]
        return limbs

    def edges(self, bounds: tuple[int, ...], rng: Random) -> list[Limbs]:
        """Return limbs at their bounds, in many ways, and values around multiples of p."""
        largest = [bound - 1 for bound in bounds]
        found = [largest, [0] * len(bounds), [(1 << width) - 1 for width in self.widths]]
        for at in range(len(bounds)):
            found.append([limb if i == at else 0 for i, limb in enumerate(largest)])
            found.append([0 if i == at else limb for i, limb in enumerate(largest)])
        found += [[rng.choice([0, limb]) for limb in largest] for _ in range(12)]
        found += [[limb - rng.randrange(40) for limb in largest] for _ in range(6)]
        found += [[rng.randrange(bound) for bound in bounds] for _ in range(8)]
        found += [self.split(P + k) for k in range(-3, 19)]
        found += [self.represent(rng.choice([0, P // 2, 2**254]) + k, bounds, rng) for k in range(-20, 21)]
        return found


PORTABLE = Field("portable", (51,) * 5, (2**51 + 2**13,) * 5, (2**54,) * 5, (2**59,) * 5)
# A difference of two tight values may reach 2^27 - 2 more than the first: that is what "loose" has to take.
AVX2 = Field(
    "avx2", (26, 25) * 5, (2**26 + 2**18, 2**25 + 2**18) * 5, (3 * 2**26 + 2**18,) * 10, (2**64 - 2**44,) * 10, lanes=4
)
IFMA = Field("ifma", (51,) * 5, (2**51 + 2**15,) * 5, (2**52,) * 5, (2**61,) * 5, lanes=8, points=2)
FIELDS = [field for field in (PORTABLE, AVX2, IFMA) if field.name in _fastverify.PATHS]  # what this CPU has
WIDE = FIELDS[1:]


RANDOM = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)


class Job(ctypes.Structure):
    """ed25519_job."""

    _fields_ = (("signature", ctypes.c_char_p), ("message", ctypes.c_char_p), ("size", ctypes.c_size_t))


def job(message: bytes, signature: bytes) -> Job:
    return Job(signature, message, len(message))


class Arithmetic:
    """tests/arithmetic.c, compiled for a field."""

    def __init__(self, field: Field, library: ctypes.CDLL) -> None:
        self.field, self.library = field, library
        self.drawn = 0  # random bytes that verify() asked for
        assert (library.lanes(), library.points()) == (field.lanes, field.points)
        library.ed25519_init()

    def call(self, name: str, *operands: list[Limbs]) -> list[Limbs]:
        """Apply a function to operands, of which each has a representation for every lane."""
        count, lanes = len(self.field.widths), self.field.lanes
        vector = ctypes.c_uint64 * (count * lanes)
        packed = [vector(*itertools.chain(*zip(*operand, strict=True))) for operand in operands]
        out = vector()
        getattr(self.library, f"test_{name}")(out, *packed)
        return [list(out[lane::lanes]) for lane in range(lanes)]

    def points(self, name: str, *arguments: object, count: int = 1) -> list[list[Limbs]]:
        """Call what writes points; return the limbs of their coordinates."""
        out = (ctypes.c_uint64 * (20 * count))()
        getattr(self.library, f"test_{name}")(out, *arguments)
        return [[list(out[at + 5 * i : at + 5 * i + 5]) for i in range(4)] for at in range(0, 20 * count, 20)]

    def verify(self, signed: list[tuple[bytes, bytes]], key: bytes, weights: list[int]) -> bytes:
        """Ask the batch engine, whose random weights are given."""
        row = b"".join(weight.to_bytes(16, "little") for weight in weights)
        at = 0

        def draw(buffer: int, size: int) -> None:
            nonlocal at
            ctypes.memmove(buffer, row[at : at + size].ljust(size), size)
            at, self.drawn = at + size, self.drawn + size

        decoded, valid = ctypes.create_string_buffer(4096), ctypes.create_string_buffer(len(signed))
        assert self.library.ed25519_key_decode(decoded, key)
        jobs = (Job * len(signed))(*itertools.starmap(job, signed))
        path = (PORTABLE, AVX2, IFMA).index(self.field)
        count, search = ctypes.c_size_t(len(signed)), 1
        assert self.library.ed25519_verify(jobs, count, decoded, path, search, RANDOM(draw), valid) == 0
        return valid.raw


@cache
def compiled(field: Field) -> Arithmetic:
    """Return what is left of a folder that is gone again: the loaded library."""
    flags = [] if field is PORTABLE else [f"-DWITH_{field.name.upper()}"]
    others = [FOLDER / f"{name}.c" for name in ("verify", "portable", "avx2", "ifma") if name != field.name]
    sources, include = [SOURCE, *others], f"-I{FOLDER.parent}"
    with tempfile.TemporaryDirectory(prefix="pouw-arithmetic-") as folder:
        output = Path(folder) / f"{field.name}.so"
        command: list[str | Path] = [
            *default_compiler(),
            "-O2",
            "-shared",
            "-fPIC",
            *flags,
            include,
            *sources,
            "-o",
            output,
        ]
        subprocess.run(command, check=True)
        return Arithmetic(field, ctypes.CDLL(str(output)))


def limbs_of(rng: Random, *points: Point) -> ctypes.Array[ctypes.c_uint64]:
    """Return of each point X, Y, Z and T, times a number, in tight limbs."""
    limbs: list[Limbs] = []
    for point in points:
        factor = rng.choice([1, rng.randrange(1, P)])
        limbs += [PORTABLE.represent(each * factor, PORTABLE.tight, rng) for each in point]
    return (ctypes.c_uint64 * (20 * len(points)))(*itertools.chain(*limbs))


def point_of(coordinates: list[Limbs]) -> Point:
    """Return a point whose coordinates have to be tight and to belong together."""
    assert all(map(PORTABLE.is_tight, coordinates))
    x, y, z, t = (PORTABLE.value(each) % P for each in coordinates)
    assert z
    assert (x * y - z * t) % P == 0
    return (x, y, z, t)
