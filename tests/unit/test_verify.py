"""The verifier's threads: each receipt gets its own answer, however a batch is split up."""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import gevent
import pytest
from nacl.signing import SigningKey
from prometheus_client import REGISTRY

from pouw import _fastverify
from pouw.errors import EngineFault
from pouw.verify import Verifier, self_test
from tests.support import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw._fastverify import PublicKey


@pytest.fixture(scope="module")
def receipts() -> tuple[list[_fastverify.SignedReceipt], bytes]:
    client = Identity()
    items = []
    for index in range(300):
        item = RECEIPT | {
            "client_did": client.did, "client_node_id": client.public_key.hex(), "receipt_nonce": f"{index:032x}",
        }  # fmt: skip
        [decoded] = _fastverify.decode_json([{"receipt": item, "sig_scheme": "ed25519", "signature": "00" * 64}])
        signer = SigningKey.generate() if index in WRONG else client.key
        signature = signer.sign(decoded.body).signature.hex()
        items.append({"receipt": item, "sig_scheme": "ed25519", "signature": signature})
    return _fastverify.decode_json(items), client.public_key


WRONG = {0, 33, 34, 66, 99, 128, 299}
RECEIPT = {
    "version": 1, "task_id": "ab" * 16, "content_id": "cd" * 32, "proof_type": "hash", "bytes_verified": 4096,
    "result_ok": True, "started_at": 5, "finished_at": 6, "challenge_nonce": "ef" * 16,
}  # fmt: skip


@pytest.mark.parametrize("engine", ["batch", "libsodium"])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 16, 17, 100, 128, 129, 300])
def test_every_receipt_gets_its_own_answer(
    receipts: tuple[list[_fastverify.SignedReceipt], bytes],
    threads: int,
    count: int,
    engine: Literal["batch", "libsodium"],
) -> None:
    signed, key = receipts
    verifier = Verifier(threads, engine)
    expected = [index not in WRONG for index in range(count)]
    assert verifier.verify(signed[:count], key) == expected
    several = [gevent.spawn(verifier.verify, signed[:count], key) for _ in range(4)]
    gevent.joinall(several, timeout=20)
    assert [each.value for each in several] == [expected] * 4
    verifier.close()


def differences() -> float:
    value = REGISTRY.get_sample_value("pouw_verify_differences_total")
    assert value is not None
    return value


def lying(engine: str) -> Callable[..., bytes]:
    """Return a verification whose one engine is wrong about the first and the last signature of a batch."""

    def verify(
        messages: list[bytes],
        signatures: list[bytes],
        key: PublicKey,
        by: str,
        path: str | None = None,
        search: bool = True,
    ) -> bytes:
        honest = bytearray(real(messages, signatures, key, by, path, search))
        if by == engine:
            honest[0] ^= 1
            honest[-1] ^= len(honest) > 1
        return bytes(honest)

    real = _fastverify.verify
    return verify


@pytest.mark.parametrize("wrong", ["batch", "libsodium"])
@pytest.mark.parametrize("engine", ["batch", "libsodium"])
def test_where_engines_differ_the_rule_decides_and_an_operator_hears_of_it(
    receipts: tuple[list[_fastverify.SignedReceipt], bytes],
    engine: Literal["batch", "libsodium"],
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    signed, key = receipts
    verifier = Verifier(2, engine, check_one_in=1)
    before = differences()
    expected = [index not in WRONG for index in range(20)]
    assert verifier.verify(signed[:20], key) == expected
    assert differences() == before
    monkeypatch.setattr(_fastverify, "verify", lying(wrong))
    assert verifier.verify(signed[:20], key) == expected
    assert differences() == before + 2
    assert [record.message for record in caplog.records] == ["engines_differ"] * 2
    verifier.close()


def test_an_engine_is_not_asked_for_what_it_is_not_checked_on(
    receipts: tuple[list[_fastverify.SignedReceipt], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without checks a wrong second engine does no harm; with them, about one batch in so many asks it."""
    signed, key = receipts
    never, seldom = Verifier(1, "batch"), Verifier(1, "batch", check_one_in=15)
    monkeypatch.setattr(_fastverify, "verify", lying("libsodium"))
    before = differences()
    for _ in range(100):
        never.verify(signed[1:2], key)
    assert differences() == before
    for _ in range(300):
        seldom.verify(signed[1:2], key)
    assert before + 2 < differences() < before + 60
    never.close()
    seldom.close()


@pytest.mark.parametrize("wrong", ["batch", "libsodium"])
def test_no_verifier_is_made_with_an_engine_that_is_wrong(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fastverify, "verify", lying(wrong))
    self_test.cache_clear()
    with pytest.raises(EngineFault, match=f"The engine {wrong} "):
        Verifier(1)
    monkeypatch.undo()
    self_test()


@pytest.mark.parametrize("place", range(9))
def test_the_self_test_sees_a_fault_in_any_lane(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _fastverify.verify

    def wrong_there(messages: list[bytes], signatures: list[bytes], key: PublicKey, *way: Any) -> bytes:
        answers = bytearray(real(messages, signatures, key, *way))
        if len(answers) > 1:
            answers[place::9] = bytes(len(answers[place::9]))
        return bytes(answers)

    monkeypatch.setattr(_fastverify, "verify", wrong_there)
    self_test.cache_clear()
    with pytest.raises(EngineFault):
        self_test()
    monkeypatch.undo()
    self_test()


@pytest.mark.parametrize(
    ("count", "size", "bad", "calls"),
    [
        (16, 200, True, [("here", True)]),
        (128, 200, False, [("here", False)]),
        (128, 200, True, [("here", False), ("on a thread", True)]),
        (129, 200, False, [("on a thread", True)]),
        (40, 4_000, False, [("on a thread", True)]),
    ],
)
def test_what_takes_long_is_done_on_a_thread(
    count: int, size: int, bad: bool, calls: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong signatures among many, and long messages: anybody can send both without having proved anything."""
    key = SigningKey.generate()
    bodies = [b"%0*d" % (size, index) for index in range(count)]
    signatures = [key.sign(body).signature for body in bodies]
    if bad:
        signatures[-1] = signatures[0]
    signed = [_Signed(body, signature) for body, signature in zip(bodies, signatures, strict=True)]
    verifier, real, seen, here = Verifier(1), _fastverify.verify, [], get_ident()

    def noted(*arguments: Any, **options: Any) -> bytes:
        seen.append(("here" if get_ident() == here else "on a thread", options.get("search", True)))
        return real(*arguments, **options)

    monkeypatch.setattr(_fastverify, "verify", noted)
    answers = verifier.verify(signed, bytes(key.verify_key))  # type: ignore[arg-type]  # all it looks at
    assert answers == [True] * (count - bad) + [False] * bad
    assert seen == calls
    verifier.close()


class _Signed(NamedTuple):
    body: bytes
    signature: bytes


def test_the_self_test_sees_what_goes_wrong_in_an_equation_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widest path verifies no signature alone: a fault of its own shows among several only."""
    real = _fastverify.verify

    def wrong_together(messages: list[bytes], signatures: list[bytes], key: PublicKey, *way: Any) -> bytes:
        answers = real(messages, signatures, key, *way)
        return answers if len(answers) < 3 or way[1:] != (_fastverify.PATHS[-1],) else bytes(len(answers))

    monkeypatch.setattr(_fastverify, "verify", wrong_together)
    self_test.cache_clear()
    with pytest.raises(EngineFault, match=_fastverify.PATHS[-1]):
        self_test()
    monkeypatch.undo()
    self_test()
