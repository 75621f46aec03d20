"""Promise 4: one rule for a signature, whatever the engine, the way it computes, its neighbours and its place."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from random import Random
from typing import Any

import pytest

from pouw import _fastverify
from tests import ed25519
from tests.ed25519 import L
from tests.rule_cases import ROUND, Batch, make_batch
from tests.rule_engines import ENGINES, Engine
from tests.rule_kinds import BAD, LENGTHS, MIXED
from tests.rule_signers import (
    SMALL_POINTS,
    Signer,
    any_scalar,
    bad_signer,
    commitment,
    encodings_near_p,
    from_scalar,
    from_seed,
    libsodium_accepts,
)
from tools.make_rule_vectors import PATH, SIGNER, build

SEED = 20_261_123
VECTORS = json.loads(PATH.read_text())["vectors"]
each_engine = pytest.mark.parametrize("engine", ENGINES, ids=str)


def parts(vector: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    message, signature, key = (bytes.fromhex(vector[name]) for name in ("message", "signature", "public_key"))
    return message, signature, key


def verify(engine: Engine, signed: list[tuple[bytes, bytes]], signer: Signer) -> bytes:
    return engine.verify([message for message, _ in signed], [signature for _, signature in signed], signer.public)


@cache
def batches() -> list[Batch]:
    """Return 21,016 receipts: every size of batch, with its bad ones in every layout."""
    return [make_batch(SEED, number) for number in range(ROUND)]


def test_the_file_is_what_its_generator_writes() -> None:
    assert json.loads(json.dumps(build())) == json.loads(PATH.read_text())
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS) >= 160


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_each_vector_alone(vector: dict[str, Any]) -> None:
    message, signature, key = parts(vector)
    assert ed25519.is_valid(message, signature, key) == vector["valid"]
    assert libsodium_accepts(message, signature, key) == vector["libsodium"]
    for engine in ENGINES:
        assert engine.verify([message], [signature], key) == bytes([vector["valid"]]), engine


@each_engine
def test_each_vector_among_neighbours(engine: Engine) -> None:
    """Under the vectors' own key, at both ends and within; the others among those of their key."""
    good = [(b"%d" % i, SIGNER.sign(b"%d" % i)) for i in range(99)]
    for key in {vector["public_key"]: None for vector in VECTORS}:
        vectors = [vector for vector in VECTORS if vector["public_key"] == key]
        signed = [parts(vector)[:2] for vector in vectors]
        expected = bytes(vector["valid"] for vector in vectors)
        signer = Signer(0, bytes.fromhex(key))
        assert verify(engine, signed, signer) == expected
        if signer.public != SIGNER.public:
            continue
        for one, valid in zip(signed, expected, strict=True):
            for place in (0, 50, 99):
                answer = verify(engine, [*good[:place], one, *good[place:]], SIGNER)
                assert answer == b"\1" * place + bytes([valid]) + b"\1" * (99 - place)


@each_engine
def test_each_engine_says_of_each_case_what_its_making_implies(engine: Engine) -> None:
    for number, batch in enumerate(batches()):
        answer = engine.verify(batch.messages, batch.signatures, batch.signer.public)
        assert answer == batch.expected, (number, batch)


@each_engine
def test_neighbours_and_order_make_no_difference(engine: Engine) -> None:
    """The cases of a batch turned round, mixed, and cut into batches of any size."""
    rng = Random(SEED)
    for batch in batches()[11:ROUND:13]:
        cases = list(zip(batch.messages, batch.signatures, batch.expected, strict=True))
        rng.shuffle(cases)
        while cases:
            size = rng.randint(1, 40)
            taken, cases = cases[:size], cases[size:]
            answer = verify(engine, [case[:2] for case in taken], batch.signer)
            assert answer == bytes(expected for *_signed, expected in taken)


@each_engine
def test_the_same_batch_gets_the_same_answer_each_time(engine: Engine) -> None:
    for batch in batches()[20:ROUND:25]:  # the batches of 128
        key = _fastverify.PublicKey(batch.signer.public)
        for _ in range(20):
            answer = _fastverify.verify(batch.messages, batch.signatures, key, engine.name, engine.path)
            assert answer == batch.expected


@each_engine
def test_every_pattern_of_bad_ones_in_a_small_batch(engine: Engine) -> None:
    good = [(message, SIGNER.sign(message)) for message in (b"%d" % i for i in range(8))]
    bad = [(message + b"!", signature) for message, signature in good]
    for pattern in itertools.product((0, 1), repeat=8):
        signed = [pair[valid] for pair, valid in zip(zip(bad, good, strict=True), pattern, strict=True)]
        for size in (1, 3, 8):
            assert verify(engine, signed[:size], SIGNER) == bytes(pattern[:size])


@each_engine
def test_one_bad_one_at_every_place(engine: Engine) -> None:
    signed = [(b"%d" % i, SIGNER.forge(b"%d" % i, i + 1)) for i in range(133)]
    for place, (message, signature) in enumerate(signed):
        batch = [*signed[:place], (message, signature[:32] + bytes(32)), *signed[place + 1 :]]
        assert verify(engine, batch, SIGNER) == b"\1" * place + b"\0" + b"\1" * (132 - place)


@each_engine
def test_errors_that_cancel_at_any_two_places(engine: Engine) -> None:
    """Weights that two places share, or that are small multiples of each other, would let these through."""
    rng, size = Random(SEED), 20
    good = [(b"%d" % i, i + 1) for i in range(size)]
    for first, second in itertools.combinations(range(size), 2):
        error, (left, right) = any_scalar(rng), rng.choice([(1, 1), (1, 1), (1, -1), (1, 2), (2, 1), (3, 1)])
        errors = {first: left * error, second: -right * error}
        signed = [(m, SIGNER.forge(m, r, error=errors.get(i, 0))) for i, (m, r) in enumerate(good)]
        assert verify(engine, signed, SIGNER) == bytes(i not in errors for i in range(size)), (first, second)


@each_engine
def test_messages_of_every_length_in_one_batch(engine: Engine) -> None:
    """Whose hashes end in different blocks, next to each other; and the same with the last byte changed."""
    rng = Random(SEED)
    sizes = [*range(300), *LENGTHS, 4096, 100_000]
    for _ in range(2):
        rng.shuffle(sizes)
        messages = [rng.randbytes(size) for size in sizes]
        signatures = [SIGNER.sign(message) for message in messages]
        assert engine.verify(messages, signatures, SIGNER.public) == b"\1" * len(sizes)
        changed = [message[:-1] + bytes([message[-1] ^ 1]) if message else b"\0" for message in messages]
        assert engine.verify(changed, signatures, SIGNER.public) == bytes(len(sizes))


def test_a_key_is_valid_if_it_is_canonical_and_of_prime_order() -> None:
    rng = Random(SEED)
    keys = [*SMALL_POINTS, *(each for group in encodings_near_p() for each in group)]
    keys += [bad_signer(rng).public for _ in range(200)] + [rng.randbytes(32) for _ in range(100)]
    keys += [commitment(any_scalar(rng)) for _ in range(100)] + [commitment(each) for each in (1, 2, 8, L - 1)]
    answers = [_fastverify.PublicKey(key).valid for key in keys]
    assert answers == [ed25519.is_valid_key(key) for key in keys]
    assert True in answers
    assert False in answers


@each_engine
@pytest.mark.parametrize("scalar", [1, 2, 7, 8, 16, L - 1, L - 2, (L + 1) // 2, 2**252 - 1, 2**252])
def test_unusual_keys(engine: Engine, scalar: int) -> None:
    signer = from_scalar(scalar)
    nonces = [1, 2, 3, 8, 15, 16, 17, 128, L - 1, L - 2, scalar, -scalar, 2 * scalar, 2**251]
    signed = [(b"%d" % r, signer.forge(b"%d" % r, r)) for r in nonces]
    assert verify(engine, signed, signer) == b"\1" * len(nonces)
    assert verify(engine, signed, from_scalar(scalar + 1)) == bytes(len(nonces))


def test_threads_share_a_key() -> None:
    keys = {batch.signer.public: _fastverify.PublicKey(batch.signer.public) for batch in batches()}

    def answer(work: tuple[Engine, Batch]) -> bytes:
        (name, path), batch = work
        return _fastverify.verify(batch.messages, batch.signatures, keys[batch.signer.public], name, path)

    work = [(engine, batch) for batch in batches()[17:ROUND:25] for engine in ENGINES] * 3
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, work)) == [batch.expected for _engine, batch in work]


@each_engine
def test_nothing_to_verify(engine: Engine) -> None:
    assert engine.verify([], [], SIGNER.public) == b""
    assert engine.verify([], [], bytes(32)) == b""


@each_engine
def test_what_is_no_signature_at_all_is_an_error_of_the_program(engine: Engine) -> None:
    key, (name, path) = _fastverify.PublicKey(SIGNER.public), engine
    good = SIGNER.sign(b"m")
    with pytest.raises(ValueError, match="as many"):
        _fastverify.verify([b"m"], [], key, name, path)
    for wrong in ("m", bytearray(b"m"), memoryview(b"m"), None, 1):
        with pytest.raises(TypeError):
            _fastverify.verify([b"m", wrong], [good, good], key, name, path)  # type: ignore[list-item]
        with pytest.raises(TypeError):
            _fastverify.verify([b"m", b"m"], [good, wrong], key, name, path)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        _fastverify.verify((b"m",), [good], key, name, path)  # type: ignore[arg-type]
    for no_key in (SIGNER.public, None):
        with pytest.raises(TypeError):
            _fastverify.verify([b"m"], [good], no_key, name, path)  # type: ignore[arg-type]
    assert _fastverify.verify([b"m"], [good], key, name, path) == b"\1"


def test_a_key_has_32_bytes_and_an_engine_a_name_that_is_known() -> None:
    for size in (0, 31, 33, 64):
        with pytest.raises(ValueError, match="32 bytes"):
            _fastverify.PublicKey(bytes(size))
    with pytest.raises(TypeError):
        _fastverify.PublicKey("k" * 32)  # type: ignore[arg-type]
    key = _fastverify.PublicKey(from_seed(bytes(32)).public)
    for name, path in (("", None), ("openssl", None), ("batch", "sse9"), ("batch", "")):
        with pytest.raises(ValueError, match=r"engine|path"):
            _fastverify.verify([], [], key, name, path)
    assert _fastverify.PATHS[0] == "portable"


def test_the_reference_says_of_each_case_what_its_making_implies() -> None:
    seen = set()
    for number, batch in enumerate(batches()):
        key = batch.signer.public
        assert ed25519.is_valid_key(key) == batch.signer.good
        for case, expected in zip(batch.cases, batch.expected, strict=True):
            assert ed25519.is_valid(case.message, case.signature, key) == expected, (number, case)
            seen.add(case.kind)
    assert sum(len(batch.cases) for batch in batches()) >= 20_000
    assert seen >= set(BAD) | set(MIXED)


def test_pynacl_differs_from_the_rule_only_where_a_small_part_comes_in() -> None:
    for number, batch in enumerate(batches()):
        if batch.signer.good:
            for case in batch.cases:
                answer = libsodium_accepts(case.message, case.signature, batch.signer.public)
                assert answer == case.strict, (number, case)
                assert answer == case.valid or case.kind in MIXED


@pytest.mark.parametrize("path", _fastverify.PATHS)
def test_without_a_search_no_wrong_signature_passes_and_no_good_batch_is_held_up(path: str) -> None:
    for batch in batches():
        key = _fastverify.PublicKey(batch.signer.public)
        answer = _fastverify.verify(batch.messages, batch.signatures, key, "batch", path, search=False)
        assert all(valid <= expected for valid, expected in zip(answer, batch.expected, strict=True))
        if 0 not in batch.expected:
            assert answer == batch.expected
