"""Run libFuzzer on one target, inside a Python that has loaded the instrumented extension; tools/fuzz.py calls this.

libFuzzer is linked into the extension, so its counters are those of the extension's C code. Python is only the
driver between them: it hands on each input and stops the process at the first property that does not hold.
"""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from typing import Any

from pouw import _fastverify
from tests.fuzz.mutators import MUTATORS, Chance
from tests.fuzz.planted import PLANTED
from tests.fuzz.targets import TARGETS

_Test = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_Mutate = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint)


def main() -> None:
    """Fuzz the target that the first argument names; the others are libFuzzer's."""
    target = (TARGETS | PLANTED)[sys.argv[1]]
    mutator = MUTATORS.get(sys.argv[1])
    library = ctypes.CDLL(_fastverify.__file__)
    flip: Any = library.LLVMFuzzerMutate
    flip.argtypes, flip.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t], ctypes.c_size_t

    def test(data: int, size: int) -> int:
        try:
            target(ctypes.string_at(data, size))
        except BaseException:  # noqa: BLE001 - ctypes would print and forget whatever is raised here
            traceback.print_exc()
            sys.stderr.flush()
            os.abort()
        return 0

    def change(data: bytes) -> bytes:
        room = ctypes.create_string_buffer(data, len(data) + 64)
        size = flip(room, len(data), len(room))
        return room.raw[:size]

    def mutate(data: int, size: int, most: int, seed: int) -> int:
        chance = Chance(seed, change)
        changed = mutator(ctypes.string_at(data, size), chance) if mutator and chance.random() < 0.75 else None
        if changed is None or len(changed) > most:
            return int(flip(data, size, most))
        ctypes.memmove(data, changed, len(changed))
        return len(changed)

    held = _Test(test), _Mutate(mutate)  # for as long as C may call them
    ctypes.c_void_p.in_dll(library, "pouw_mutator").value = ctypes.cast(held[1], ctypes.c_void_p).value
    words = [b"fuzz", *(argument.encode() for argument in sys.argv[2:])]
    count = ctypes.c_int(len(words))
    vector = ctypes.cast((ctypes.c_char_p * (len(words) + 1))(*words, None), ctypes.POINTER(ctypes.c_char_p))
    run: Any = library.LLVMFuzzerRunDriver
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, _Test]
    sys.exit(run(ctypes.byref(count), ctypes.byref(vector), held[0]))


main()
