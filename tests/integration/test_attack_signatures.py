"""Promise 4: adversarial Ed25519 signatures and keys, alone and among 99 neighbours.

Every forged signature satisfies some verifier's equation: one without the check that it aims at would accept it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from nacl import bindings

from tests.integration.test_attack_canonical import encode, receipt_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from pouw.protocol.types import ChallengeToken
    from tests.support import Http, Identity

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
IDENTITY, MINUS_ONE = b"\x01" + bytes(31), (P - 1).to_bytes(32, "little")
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
ORDER_8_OTHER = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")


def signed(point: bytes) -> bytes:
    """Return the encoding with its sign bit turned."""
    return point[:31] + bytes([point[31] ^ 0x80])


_SMALL = [
    IDENTITY,
    MINUS_ONE,
    bytes(32),
    ORDER_8,
    ORDER_8_OTHER,
    P.to_bytes(32, "little"),
    (P + 1).to_bytes(32, "little"),
]
SMALL = [*_SMALL, *map(signed, _SMALL)]
TORSION = {"order 2": MINUS_ONE, "order 4": bytes(32), "order 8": ORDER_8}


def base(scalar: int) -> bytes:
    return bindings.crypto_scalarmult_ed25519_base_noclamp((scalar % L).to_bytes(32, "little"))


def add(left: bytes, right: bytes) -> bytes:
    return bindings.crypto_core_ed25519_add(left, right)


def did_key(key: bytes, codec: bytes = b"\xed\x01") -> str:
    number, text = int.from_bytes(codec + key, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return f"did:key:z{text}"


@dataclass(frozen=True)
class Signer:
    """A secret scalar and the key that it claims to belong to."""

    scalar: int
    public: bytes

    def challenge(self, r_bytes: bytes, message: bytes) -> int:
        return int.from_bytes(hashlib.sha512(r_bytes + self.public + message).digest(), "little") % L

    def sign(self, message: bytes, *, r: int | None = None, r_bytes: bytes | None = None, add_to_s: int = 0) -> bytes:
        """Return ``R || S`` with ``S = r + h·a`` for any chosen ``r`` and any chosen encoding of R."""
        r = secrets.randbelow(L - 1) + 1 if r is None else r
        r_bytes = base(r) if r_bytes is None else r_bytes
        s = (r + self.challenge(r_bytes, message) * self.scalar) % L + add_to_s
        return r_bytes + s.to_bytes(32, "little")


def signer(scalar: int) -> Signer:
    return Signer(scalar, base(scalar))


def item(by: Signer, client: Identity, token: ChallengeToken, forge: Callable[[bytes], bytes]) -> dict[str, Any]:
    receipt = receipt_of(client, token, client_did=did_key(by.public), client_node_id=by.public.hex())
    return {"receipt": receipt, "sig_scheme": "ed25519", "signature": forge(encode(receipt)).hex()}


def details(http: Http, by: Signer, items: list[dict[str, Any]]) -> list[str]:
    body = json.dumps({"version": 1, "client_did": did_key(by.public), "receipts": items}).encode()
    response = http.submit(body)
    assert response.status == 200, response.body
    refused = {each["index"]: each["detail"] for each in response.json["rejected"]}
    return [refused.get(index, "accepted") for index in range(len(items))]


def hostile(by: Signer) -> dict[str, Callable[[bytes], bytes]]:
    """Return forgeries by the holder of a good key, by what each tries."""
    forgeries: dict[str, Callable[[bytes], bytes]] = {
        f"S + {times}L": partial(by.sign, add_to_s=times * L) for times in (1, 2, 7, 14)
    }
    forgeries |= {f"S with bit {bit}": partial(_with_bit, by, bit) for bit in (253, 254, 255)}
    forgeries |= {f"R small {i}": partial(by.sign, r=0, r_bytes=point) for i, point in enumerate(SMALL)}
    forgeries |= {
        "R with its sign turned": lambda m: signed(by.sign(m)[:32]) + by.sign(m)[32:],
        "R off the curve": lambda m: by.sign(m, r_bytes=_off_curve()),
        "R beyond p": lambda m: by.sign(m, r_bytes=(P + 3).to_bytes(32, "little")),
        "S zero": lambda m: by.sign(m)[:32] + bytes(32),
        "S is L": lambda m: by.sign(m)[:32] + L.to_bytes(32, "little"),
        "all zero": lambda m: bytes(64),
        "all ones": lambda m: b"\xff" * 64,
        "prehashed": lambda m: by.sign(hashlib.sha512(m).digest()),
        "halves turned": lambda m: by.sign(m)[32:] + by.sign(m)[:32],
        "hash without the key": lambda m: Signer(by.scalar, b"").sign(m),
    }
    return forgeries


def _with_bit(by: Signer, bit: int, message: bytes) -> bytes:
    signature = by.sign(message)
    s = int.from_bytes(signature[32:], "little") | 1 << bit
    return signature[:32] + s.to_bytes(32, "little")


def cofactored(by: Signer, torsion: bytes, message: bytes) -> bytes:
    """Return a signature that holds only where both sides are multiplied by eight."""
    r = secrets.randbelow(L - 1) + 1
    return by.sign(message, r=r, r_bytes=add(base(r), torsion))


def _off_curve() -> bytes:
    """Return a canonical y that belongs to no point."""
    y = 2
    while True:
        candidate = y.to_bytes(32, "little")
        try:
            add(candidate, IDENTITY)
        except Exception:  # noqa: BLE001 - PyNaCl's own exception for a point that is none
            return candidate
        y += 1


def test_forgeries_fail_alone_and_among_99_neighbours(http: Http, client: Identity) -> None:
    by, token = signer(secrets.randbelow(L - 1) + 1), http.challenge()
    forgeries = hostile(by)
    for label, forge in forgeries.items():
        assert details(http, by, [item(by, client, token, forge)]) == ["invalid_signature"], label
    labels = list(forgeries)
    for start in (0, len(labels) // 2):
        good = [item(by, client, token, by.sign) for _ in range(100)]
        expected = ["accepted"] * 100
        for offset in range(2):
            for at, label in enumerate(labels[start : start + len(labels) // 2]):
                place = (at * 3 + offset * 50) % 100
                good[place], expected[place] = item(by, client, token, forgeries[label]), "invalid_signature"
        assert details(http, by, good) == expected


@pytest.mark.parametrize("place", [0, 1, 50, 99])
def test_one_forgery_among_99_neighbours_falls_alone(http: Http, client: Identity, place: int) -> None:
    by = signer(secrets.randbelow(L - 1) + 1)
    forgeries = hostile(by)
    for label in ("S + 1L", "R with its sign turned", "R small 0"):
        token = http.challenge()
        items = [item(by, client, token, by.sign) for _ in range(100)]
        items[place] = item(by, client, token, forgeries[label])
        expected = ["accepted"] * 100
        expected[place] = "invalid_signature"
        assert details(http, by, items) == expected


def test_forgeries_that_cancel_out_in_a_sum_all_fail(http: Http, client: Identity) -> None:
    """What a batch equation without random weights would let through."""
    by, token = signer(secrets.randbelow(L - 1) + 1), http.challenge()
    items = []
    for _ in range(50):
        delta = secrets.randbelow(L - 1) + 1
        items.append(item(by, client, token, partial(_shifted, by, delta)))
        items.append(item(by, client, token, partial(_shifted, by, -delta)))
    assert details(http, by, items) == ["invalid_signature"] * 100


def _shifted(by: Signer, delta: int, message: bytes) -> bytes:
    signature = by.sign(message)
    s = (int.from_bytes(signature[32:], "little") + delta) % L
    return signature[:32] + s.to_bytes(32, "little")


@pytest.mark.parametrize("scalar", [1, 2, 8, L - 1, (L + 1) // 2, 2**252])
@pytest.mark.parametrize("r", [1, 2, L - 1, None])
def test_unusual_but_valid_signatures_are_accepted(http: Http, client: Identity, scalar: int, r: int | None) -> None:
    """Keys without clamping and nonces that RFC 8032 would not choose satisfy the acceptance rule all the same."""
    by, token = signer(scalar), http.challenge()
    assert bindings.crypto_core_ed25519_is_valid_point(by.public)
    assert details(http, by, [item(by, client, token, partial(by.sign, r=r))]) == ["accepted"]
    items = [item(by, client, token, partial(by.sign, r=r)) for _ in range(5)]
    items.insert(2, item(by, client, token, partial(by.sign, r=r, add_to_s=L)))
    assert details(http, by, items) == ["accepted"] * 2 + ["invalid_signature"] + ["accepted"] * 3


@pytest.mark.parametrize("torsion", TORSION)
def test_a_small_part_in_r_is_nothing_to_the_cofactor(http: Http, client: Identity, torsion: str) -> None:
    """The rule has the cofactor, so that one receipt alone and a hundred in one equation get the same answer."""
    by, token = signer(secrets.randbelow(L - 1) + 1), http.challenge()
    mixed = partial(cofactored, by, TORSION[torsion])
    wrong = partial(cofactored, signer(by.scalar + 1), TORSION[torsion])
    assert details(http, by, [item(by, client, token, mixed)]) == ["accepted"]
    assert details(http, by, [item(by, client, token, wrong)]) == ["invalid_signature"]
    forges = [mixed] * 40 + [wrong] + [by.sign] * 59
    answers = ["accepted"] * 40 + ["invalid_signature"] + ["accepted"] * 59
    assert details(http, by, [item(by, client, token, forge) for forge in forges]) == answers


def bad_keys() -> dict[str, Signer]:
    """Return keys that are no canonical point of prime order, with scalars that would satisfy a lax verifier."""
    scalar = secrets.randbelow(L - 1) + 1
    keys = {f"small {point.hex()}": Signer(0, point) for point in SMALL}
    keys |= {f"torsion of {name}": Signer(scalar, add(base(scalar), point)) for name, point in TORSION.items()}
    keys |= {f"p + {k}": Signer(scalar, (P + k).to_bytes(32, "little")) for k in range(2, 19)}
    keys |= {f"p + {k} signed": Signer(scalar, signed((P + k).to_bytes(32, "little"))) for k in (3, 4, 5, 6, 9, 10, 14)}
    keys |= {"off the curve": Signer(scalar, _off_curve()), "all ones": Signer(scalar, b"\xff" * 32)}
    return keys


def _lucky(by: Signer, message: bytes) -> bytes:
    """Sign until the torsion of the key drops out of the equation without the cofactor."""
    while True:
        signature = by.sign(message)
        if by.challenge(signature[:32], message) % 8 == 0:
            return signature


def test_bad_keys_name_no_client_alone_and_among_99(http: Http, client: Identity) -> None:
    token = http.challenge()
    for label, by in bad_keys().items():
        alone = item(by, client, token, partial(_lucky, by))
        assert details(http, by, [alone]) == ["unknown_client"], label
    for by in list(bad_keys().values())[:18:3]:
        items = [item(by, client, token, partial(_lucky, by)) for _ in range(100)]
        assert details(http, by, items) == ["unknown_client"] * 100


def test_a_registered_bad_key_is_no_client_either(http: Http, client: Identity, db: psycopg.Connection[Any]) -> None:
    token = http.challenge()
    for label, by in bad_keys().items():
        did = f"did:zhtp:{secrets.token_hex(8)}"
        db.execute("INSERT INTO identities (did, public_key) VALUES (%s, %s)", (did, by.public))
        receipt = receipt_of(client, token, client_did=did, client_node_id=by.public.hex())
        forged = {"receipt": receipt, "sig_scheme": "ed25519", "signature": _lucky(by, encode(receipt)).hex()}
        response = http.submit(json.dumps({"version": 1, "client_did": did, "receipts": [forged]}).encode())
        assert response.status == 200, (label, response.body)
        assert [each["reason"] for each in response.json["rejected"]] == ["CLIENT_INVALID"], label


def test_one_key_has_one_did(http: Http, client: Identity) -> None:
    """A second spelling would give one key two quotas and two rewards."""
    key, did = client.public_key, client.did
    assert did == did_key(key)
    spellings = [did + "#" + did[8:], did + " ", did + "\u200b", did.replace("did:key:z", "did:key:z1"), did.upper()]
    spellings += [did[:-1], did + "1", did + "/", did + "?x=1", did.replace("did:key:", "did:key:1:"), "DID" + did[3:]]
    spellings += [did_key(key, b"\xec\x01"), did_key(key, b"\xed\x81\x00"), did_key(key + b"\0"), did_key(key, b"")]
    spellings += [f"did:key:f{'ed01' + key.hex()}", f"did:KEY:{did[8:]}", f"did:key: {did[8:]}", did_key(key, b"\xed")]
    for spelling in spellings:
        receipt = receipt_of(client, http.challenge(), client_did=spelling)
        good = {
            "receipt": receipt,
            "sig_scheme": "ed25519",
            "signature": client.key.sign(encode(receipt)).signature.hex(),
        }
        response = http.submit(json.dumps({"version": 1, "client_did": spelling, "receipts": [good]}).encode())
        if response.status == 200:
            assert [each["reason"] for each in response.json["rejected"]] == ["CLIENT_INVALID"], spelling
        else:
            assert response.status in (400, 422), spelling
