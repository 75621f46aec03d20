"""Promise 4 in both encodings: each class of odd signature and key has one verdict, alone and among neighbours.

The classes are those of :mod:`tests.integration.test_attack_signatures`, which tries them as JSON; here the same ones
come as protobuf too, and what was credited comes again under a second signature.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_attack_canonical import chunk, encode, varint
from tests.integration.test_attack_signatures import (
    SMALL,
    TORSION,
    L,
    P,
    Signer,
    bad_keys,
    cofactored,
    details,
    did_key,
    hostile,
    item,
    signer,
)
from tests.support import API
from tests.unit.wire import MESSAGES

if TYPE_CHECKING:
    from tests.support import Http, Identity


def as_protobuf(signed: dict[str, Any]) -> bytes:
    """Return a signed receipt's canonical bytes, written by hand."""
    signature = bytes.fromhex(signed["signature"])
    return chunk(1, encode(signed["receipt"])) + chunk(2, b"ed25519") + chunk(3, signature)


def protobuf_details(http: Http, by: Signer, items: list[dict[str, Any]]) -> list[str]:
    """Submit items as protobuf; return "accepted" or the detail of each."""
    body = varint(8) + varint(1) + chunk(2, did_key(by.public).encode())
    body += b"".join(chunk(4, as_protobuf(each)) for each in items)
    answer = http.request("POST", f"{API}/submit", body, Content_Type="application/x-protobuf")
    assert answer.status == 200, answer.body
    told = MESSAGES["SubmitAnswer"].FromString(answer.body)
    refused = {each.index: each.detail for each in told.rejected}
    assert len(told.accepted) == len(items) - len(refused)
    return [refused.get(index, "accepted") for index in range(len(items))]


def new_signer() -> Signer:
    return signer(secrets.randbelow(L - 1) + 1)


def test_every_forgery_has_one_verdict_in_both_encodings(http: Http, client: Identity) -> None:
    """``S + L``, small R, encodings that are none: as protobuf alone, and among valid neighbours."""
    by, token = new_signer(), http.challenge()
    forgeries = hostile(by)
    for label, forge in forgeries.items():
        assert protobuf_details(http, by, [item(by, client, token, forge)]) == ["invalid_signature"], label
    items, expected = [], []
    for forge in forgeries.values():
        items += [item(by, client, token, by.sign), item(by, client, token, forge)]
        expected += ["accepted", "invalid_signature"]
    for start in range(0, len(items), 100):
        part = items[start : start + 100]
        assert protobuf_details(http, by, part) == expected[start : start + 100]
        told = details(http, by, part)  # the valid ones were credited a moment ago
        assert told == [{"accepted": "duplicate_nonce"}.get(verdict, verdict) for verdict in expected[start:][:100]]


def test_every_bad_key_has_one_verdict_in_both_encodings(http: Http, client: Identity) -> None:
    """A of small order, of mixed order, not canonical and off the curve names no client, however it signs."""
    token = http.challenge()
    for label, by in bad_keys().items():
        several = [item(by, client, token, by.sign), item(by, client, token, lambda _message: bytes(64))]
        assert protobuf_details(http, by, several) == ["unknown_client"] * 2, label


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100])
def test_a_batchs_size_does_not_change_a_verdict(http: Http, client: Identity, size: int) -> None:
    """What verifiers of batches and of single signatures disagree about, at the sizes where engines change."""
    by, token = new_signer(), http.challenge()
    torsions = list(TORSION.values())
    stranger = new_signer()
    for encoding in (details, protobuf_details):
        items = [item(by, client, token, partial(cofactored, by, torsions[at % 3])) for at in range(size)]
        place = secrets.randbelow(size)
        items[place] = item(by, client, token, partial(cofactored, Signer(stranger.scalar, by.public), torsions[0]))
        expected = ["accepted"] * size
        expected[place] = "invalid_signature"
        assert encoding(http, by, items) == expected


def test_a_second_signature_is_no_second_receipt(http: Http, client: Identity) -> None:
    """A credited receipt with ``S + L``, and with another valid signature of its own signer, is not credited again."""
    by, token = new_signer(), http.challenge()
    first = item(by, client, token, by.sign)
    assert details(http, by, [first]) == ["accepted"]
    signature = bytes.fromhex(first["signature"])
    message = encode(first["receipt"])
    twins = [first | {"signature": (signature[:32] + shifted(signature, times)).hex()} for times in (1, 2, 14)]
    again = [first | {"signature": by.sign(message).hex()} for _ in range(3)]
    assert len({each["signature"] for each in [first, *twins, *again]}) == 7
    for encoding in (details, protobuf_details):
        told = encoding(http, by, [*twins, *again])
        assert told == ["invalid_signature"] * 3 + ["duplicate_nonce"] * 3


def shifted(signature: bytes, times: int) -> bytes:
    return (int.from_bytes(signature[32:], "little") + times * L).to_bytes(32, "little")


def test_neither_twin_goes_before_the_real_one(http: Http, client: Identity) -> None:
    """A listener who sends the twin first does not use up the receipt, and of two valid ones the first counts."""
    by, token = new_signer(), http.challenge()
    first = item(by, client, token, by.sign)
    twin = first | {"signature": (bytes.fromhex(first["signature"])[:32] + bytes(32)).hex()}
    high = first | {
        "signature": (bytes.fromhex(first["signature"])[:32] + shifted(bytes.fromhex(first["signature"]), 1)).hex()
    }
    other = first | {"signature": by.sign(encode(first["receipt"])).hex()}
    told = protobuf_details(http, by, [twin, high, first, other, first])
    assert told == ["invalid_signature"] * 2 + ["accepted"] + ["duplicate_nonce"] * 2


def test_r_that_is_not_canonical_is_never_valid(http: Http, client: Identity) -> None:
    """Every encoding of R at or beyond p, with either sign, and every point of small order, over a fitting S."""
    by, token = new_signer(), http.challenge()
    odd = [(P + k).to_bytes(32, "little") for k in range(19)]
    odd += [encoding[:31] + bytes([encoding[31] | 0x80]) for encoding in odd]
    odd += SMALL
    items = [item(by, client, token, partial(by.sign, r=0, r_bytes=r_bytes)) for r_bytes in odd]
    assert protobuf_details(http, by, items) == ["invalid_signature"] * len(odd)
    assert details(http, by, items) == ["invalid_signature"] * len(odd)
