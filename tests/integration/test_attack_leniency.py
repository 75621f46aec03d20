"""What stays good: refused envelopes burn nothing, and legal but odd spellings of a batch are taken."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_attack_canonical import hand_item, outcomes

if TYPE_CHECKING:
    import psycopg

    from tests.support import Http, Identity


def test_a_refused_envelope_burns_no_nonce_and_no_budget(http: Http, client: Identity) -> None:
    token = http.challenge("?max_receipts=2")
    items = [hand_item(client, token), hand_item(client, token)]
    nonce = secrets.token_hex(16)
    good = client.batch(items, batch_nonce=nonce)
    bad = [client.batch(items, batch_nonce=nonce, version=2), good[:-1], good + b"x", b"\xff" + good]
    bad.append(client.batch([*items, *[{}] * 200], batch_nonce=nonce))
    for body in bad:
        assert 400 <= http.submit(body).status < 500
    assert len(http.accepted(good)) == 2


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
def test_a_content_type_is_compared_as_http_says(http: Http, client: Identity, kind: str) -> None:
    body = client.batch([hand_item(client, http.challenge())])
    assert http.request("POST", "/api/v1/pouw/submit", body, Content_Type=kind).status == 200


def test_white_space_escapes_and_order_do_not_matter(http: Http, client: Identity) -> None:
    token = http.challenge()
    items = [hand_item(client, token, aux=text) for text in ("é😀\x7f", "\ud7ff\ue000", "/</script>")]
    batch: dict[str, Any] = json.loads(client.batch(items))
    raw = json.dumps(dict(reversed(batch.items())), ensure_ascii=False, indent=9)
    escaped = "".join(rf"\u{ord(char):04x}" if char.isalpha() and char < "\x7f" else char for char in raw)
    # Every letter inside quotes may be an escape; the two literals of JSON may not.
    escaped = escaped.replace(r"\u0074\u0072\u0075\u0065", "true")
    assert len(http.accepted(b"\r\n\t " + escaped.encode() + b" \n")) == 3


def test_duplicate_members_never_credit_what_was_not_signed(
    http: Http, client: Identity, db: psycopg.Connection[Any]
) -> None:
    """Which of two members counts is open; that no node credits what nobody signed is not."""
    token = http.challenge()
    pairs = [
        (b'"bytes_verified": 4096', b'"bytes_verified": 999999'),
        (b'"result_ok": true', b'"result_ok": false'),
        (b'"proof_type": "hash"', b'"proof_type": "signature"'),
        (b'"sig_scheme": "ed25519"', b'"sig_scheme": "none"'),
        (b'"version": 1', b'"version": 2'),
        (b'"client_did": "' + client.did.encode() + b'"', b'"client_did": "did:zhtp:other"'),
        (b'"receipts": [', b'"receipts": [], "receipts": ['),
    ]
    for good, other in pairs:
        for first, second in ((good, other), (other, good)):
            body = client.batch([hand_item(client, token)])
            doubled = body.replace(good, first + b", " + second if b"[" not in good else other)
            response = http.submit(doubled)
            assert response.status in (200, 400, 422), response.body
    rows = db.execute(
        "SELECT DISTINCT bytes_verified, result_ok, proof_type FROM receipts WHERE client_did = %s", (client.did,)
    ).fetchall()
    assert rows in ([], [(4096, True, 0)])


def test_deep_items_fall_alone_or_with_their_batch(http: Http, client: Identity) -> None:
    token = http.challenge()
    for depth in (1000, 100_000):
        deep = "[" * depth + "]" * depth
        body = client.batch(["<deep>", hand_item(client, token)]).decode().replace('"<deep>"', deep)
        response = http.submit(body.encode())
        assert response.status in (200, 400, 413, 422), response.body
        if response.status == 200:
            assert [each["index"] for each in response.json["rejected"]] == [0]


def test_lone_surrogates_in_an_item_are_never_accepted(http: Http, client: Identity) -> None:
    token = http.challenge()
    for name in ("context", "client_did", "proof_type", "task_id"):
        good = hand_item(client, token)
        bad = hand_item(client, token, aux="x")
        target = {"context": {"aux": {"context": "<text>"}}}.get(name, {name: "<text>"})
        bad["receipt"] |= target
        body = client.batch([bad, good]).decode().replace("<text>", "\\ud800")
        response = http.submit(body.encode())
        assert response.status in (200, 400, 422), response.body
        if response.status == 200:
            assert response.json["accepted"] == [good["receipt"]["receipt_nonce"]]


def test_a_full_batch_of_the_largest_receipts_fits(http: Http, client: Identity) -> None:
    token = http.challenge()
    aux = {"merkle_root": "aa" * 64, "proof_digest": "bb" * 64, "context": "\x01" * 4096}
    items = {
        str(number): hand_item(client, token, aux=aux, provider_id="cc" * 64, content_id="dd" * 64)
        for number in range(100)
    }
    assert set(outcomes(http, client.did, items).values()) == {"accepted"}
