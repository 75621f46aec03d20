"""Corpora and their audit: what is signed beforehand, and what the answers to it have to be."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from nacl.signing import SigningKey

from bench import audit
from bench.corpus import Client, Corpus, Mix, sign
from bench.load import Answer
from pouw import _fastverify
from pouw.protocol.dids import did_from_key
from pouw.protocol.reasons import Detail
from pouw.protocol.types import ProofType
from pouw.protocol.verdicts import Rejection, Verdict
from pouw.web.bodies import load_batch
from pouw.web.wire import JSON, PROTOBUF, VERDICT_ENCODERS

if TYPE_CHECKING:
    from pouw.service.submissions import Batch

MIX = Mix(batches=40, batch_size=50, dids=3, invalid=0.2, replayed=0.2)


def make_client() -> Client:
    key = SigningKey.generate()
    public = bytes(key.verify_key)
    return Client(bytes(key), public, did_from_key(public), secrets.token_hex(16), secrets.token_hex(32))


@pytest.fixture(scope="module", params=[False, True], ids=["json", "protobuf"])
def corpus(request: pytest.FixtureRequest) -> Corpus:
    mix = Mix(MIX.batches, MIX.batch_size, MIX.dids, request.param, MIX.invalid, MIX.replayed)
    return sign([make_client() for _ in range(MIX.dids)], mix)


def batch_of(corpus: Corpus, index: int) -> Batch:
    """Decode a request as the node does."""
    head, body = bytes(corpus[index]).split(b"\r\n\r\n", 1)
    content_type = PROTOBUF if corpus.mix.compact else JSON
    assert f"Content-Type: {content_type}".encode() in head
    assert f"Content-Length: {len(body)}".encode() in head
    return load_batch(body, content_type, 100)


def details_of(batch: Batch) -> list[Detail | None]:
    """Judge a batch by its signatures and repetitions alone."""
    key = _fastverify.PublicKey(batch.receipts[0].client_node_id)
    valid = _fastverify.verify([each.body for each in batch.receipts], [each.signature for each in batch.receipts], key)
    seen: set[bytes | None] = set()
    details: list[Detail | None] = []
    for receipt, right in zip(batch.receipts, valid, strict=True):
        repeated = receipt.receipt_nonce in seen
        details.append(Detail.DUPLICATE_NONCE if repeated and right else None if right else Detail.INVALID_SIGNATURE)
        seen.add(receipt.receipt_nonce)
    return details


def answer_to(corpus: Corpus, index: int, *, forget: int = 0) -> Answer:
    """Answer a request as the node would, but for the first ``forget`` accepted receipts."""
    batch = batch_of(corpus, index)
    accepted, rejected = [], []
    for place, (receipt, detail) in enumerate(zip(batch.receipts, details_of(batch), strict=True)):
        if detail is None:
            accepted.append(receipt.receipt_nonce or b"")
        else:
            rejected.append(Rejection(place, receipt.receipt_nonce, detail))
    verdict = Verdict(bytes(32), bytes(32), tuple(accepted[forget:]), tuple(rejected), 1)
    encode = VERDICT_ENCODERS[PROTOBUF if corpus.mix.compact else JSON]
    return Answer(index, 0.0, 0.0, 1.0, 200, encode(verdict, bytes(64)))


def test_every_batch_is_what_it_is_expected_to_be(corpus: Corpus) -> None:
    assert len(corpus) == len(corpus.expected) == MIX.batches
    for index, expected in enumerate(corpus.expected):
        batch = batch_of(corpus, index)
        details = details_of(batch)
        assert len(batch.receipts) == MIX.batch_size
        assert {receipt.fault for receipt in batch.receipts} == {None}
        assert corpus.receipt_nonces(index) == [receipt.receipt_nonce for receipt in batch.receipts]
        assert details.count(None) == expected.accepted
        assert details.count(Detail.INVALID_SIGNATURE) == expected.invalid_signature
        assert details.count(Detail.DUPLICATE_NONCE) == expected.duplicate_nonce


def test_a_large_corpus_is_signed_by_several_processes_in_order() -> None:
    clients = [make_client() for _ in range(3)]
    corpus = sign(clients, Mix(250, 50, 3))
    dids = [batch_of(corpus, index).client_did for index in range(0, 250, 10)]
    assert dids == [clients[index % 3].did for index in range(0, 250, 10)]
    assert len({nonce for index in range(250) for nonce in corpus.receipt_nonces(index)}) == 12_500


def test_a_corpus_holds_the_shares_that_were_asked_for(corpus: Corpus) -> None:
    receipts = [receipt for index in range(len(corpus)) for receipt in batch_of(corpus, index).receipts]
    share = {kind: sum(receipt.proof_type == kind for receipt in receipts) / len(receipts) for kind in ProofType}
    assert share[ProofType.HASH] == pytest.approx(0.6, abs=0.08)
    assert share[ProofType.MERKLE] == pytest.approx(0.3, abs=0.08)
    assert share[ProofType.SIGNATURE] == pytest.approx(0.1, abs=0.06)
    assert len({receipt.client_did for receipt in receipts}) == MIX.dids
    invalid = sum(expected.invalid_signature for expected in corpus.expected)
    assert invalid / len(receipts) == pytest.approx(0.2, abs=0.06)


def test_right_answers_have_no_fault(corpus: Corpus) -> None:
    told = audit.listen(corpus, [answer_to(corpus, index) for index in range(len(corpus))])
    assert told.faults == []
    assert told.answered == len(corpus)
    assert told.accepted.total() == sum(expected.accepted for expected in corpus.expected)
    assert told.rejected["duplicate_nonce"] == sum(expected.duplicate_nonce for expected in corpus.expected)


def test_a_wrong_count_is_a_fault(corpus: Corpus) -> None:
    told = audit.listen(corpus, [answer_to(corpus, 0, forget=1), answer_to(corpus, 1)])
    assert len(told.faults) == 1
    assert told.faults[0].startswith("answer 0 is ")


def test_an_answer_that_is_no_verdict_leaves_its_batch_unknown(corpus: Corpus) -> None:
    told = audit.listen(corpus, [Answer(3, 0.0, 0.0, 1.0, 0, b""), Answer(4, 0.0, 0.0, 1.0, 503, b"{}")])
    assert (told.answered, told.unanswered, told.faults) == (0, 2, [])
    assert sorted(told.unknown.elements()) == sorted([*corpus.receipt_nonces(3), *corpus.receipt_nonces(4)])
    assert told.unknown.total() == 2 * MIX.batch_size > len(told.unknown)
