"""Signed requests: who may read what, and what a signature has to be."""

from __future__ import annotations

import base64
import datetime as dt
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, InvalidSignature, algorithms

from pouw.client.signing import sign_request
from pouw.protocol.tokens import decode_wire
from pouw.web.signatures import Verifier
from tests.support import API, Identity, Node, signed, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from nacl.signing import SigningKey

    from tests.conftest import StartNode

OPERATOR = Identity()


@pytest.fixture(scope="module")
def node(start_node: StartNode, shared_url: str) -> Iterator[Node]:
    """A node with an operator and open registration."""
    started = start_node(shared_url, operator_dids=OPERATOR.did, registration="open")
    yield started
    started.stop()


PATHS = ["/receipts/{}", "/rewards/{}", "/rewards/{}/transactions", "/disputes/{}", "/clients/{}/history"]


@pytest.mark.parametrize("path", PATHS)
def test_only_the_did_itself_and_operators_may_read(
    node: Node, client: Identity, path: str, db: psycopg.Connection[Any]
) -> None:
    target = API + path.format(client.did)
    unsigned = node.http.get(target)
    assert unsigned.status == 401
    assert unsigned.headers["WWW-Authenticate"] == "Signature"
    assert 'tag="pouw"' in unsigned.headers["Accept-Signature"]
    assert unsigned.json["type"] == "urn:pouw:problem:signature-required"
    assert signed(node.http, Identity(), "GET", target).status == 403
    log = "SELECT action FROM audit_log WHERE actor = %s AND subject = %s"
    assert db.execute(log, (OPERATOR.did, client.did)).fetchall() == []
    for reader in (client, OPERATOR):
        answer = signed(node.http, reader, "GET", target)
        assert answer.status == 200, answer.body
        assert answer.json["items"] == []
        assert answer.json["next"] is None
    [noted] = db.execute(log, (OPERATOR.did, client.did)).fetchall()
    assert noted == (f"read {API}{path.format('<did>')}",)


def test_a_signed_request_counts_once(node: Node, client: Identity) -> None:
    target = f"{API}/receipts/{client.did}"
    headers = sign_request(
        client.key, client.did, "GET", node.http.base + target, None, created=int(time.time()), nonce="n" * 20
    )
    assert node.http.request("GET", target, None, **headers).status == 200
    again = node.http.request("GET", target, None, **headers)
    assert again.status == 401
    assert "nonce" in again.json["detail"]


@pytest.mark.parametrize(
    "changes",
    [
        {"created": 1},
        {"created": int(time.time()) + 3600},
        {"nonce": "short"},
        {"nonce": "n" * 65},
        {"nonce": "white space in the nonce"},
        {"did": "did:zhtp:nobody"},
        {"did": "nonsense"},
    ],
)
def test_a_signature_that_lacks_something_is_refused(node: Node, client: Identity, changes: dict[str, Any]) -> None:
    answer = signed(node.http, client, "GET", f"{API}/receipts/{client.did}", **changes)
    assert answer.status == 401, answer.body


def edited(headers: dict[str, str], old: str, new: str) -> dict[str, str]:
    return {name: value.replace(old, new) for name, value in headers.items()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('tag="pouw"', 'tag="other"'),
        (';alg="ed25519"', ';alg="hmac-sha256"'),
        ('"@method" "@target-uri"', '"@method"'),
        ('"@method" "@target-uri"', '"@target-uri"'),
        ('"@method"', '"@method";req'),
        ("pouw=:", "pouw=:AAAA"),
        ("pouw=:", "other=:"),
        (";created=", ";created=a"),
        ("pouw=(", "pouw=(("),
    ],
)
def test_an_edited_signature_is_refused(node: Node, client: Identity, old: str, new: str) -> None:
    target = f"{API}/receipts/{client.did}"
    headers = sign_request(
        client.key, client.did, "GET", node.http.base + target, None, created=int(time.time()),
        nonce=secrets.token_hex(16),
    )  # fmt: skip
    assert edited(headers, old, new) != headers
    assert node.http.request("GET", target, None, **edited(headers, old, new)).status == 401


def test_a_signature_is_for_one_method_target_and_key(node: Node, client: Identity) -> None:
    target, other = f"{API}/receipts/{client.did}", f"{API}/disputes/{client.did}"
    made: dict[str, Any] = {"created": int(time.time()), "nonce": secrets.token_hex(16)}
    for url, method, who in (
        (node.http.base + other, "GET", client),
        (node.http.base + target, "POST", client),
        (node.http.base + target + "?limit=1", "GET", client),
        (f"http://elsewhere{target}", "GET", client),
        (node.http.base + target, "GET", Identity()),
    ):
        headers = sign_request(who.key, client.did, method, url, None, **made)
        assert node.http.request("GET", target, None, **headers).status == 401


def test_the_body_is_covered(node: Node, client: Identity) -> None:
    path, body = f"{API}/identities", b'{"did": "did:zhtp:x", "public_key": ""}'
    made: dict[str, Any] = {"created": int(time.time()), "nonce": secrets.token_hex(16)}
    without = sign_request(OPERATOR.key, OPERATOR.did, "POST", node.http.base + path, None, **made)
    answer = node.http.request("POST", path, body, Content_Type="application/json", **without)
    assert answer.status in (401, 422)
    wish = b'{"did": "did:zhtp:uncovered", "public_key": "' + client.public_key.hex().encode() + b'"}'
    assert node.http.request("POST", path, wish, Content_Type="application/json", **without).status == 401
    headers = sign_request(OPERATOR.key, OPERATOR.did, "POST", node.http.base + path, b"{}", **made)
    assert node.http.request("POST", path, wish, Content_Type="application/json", **headers).status == 401


class Keys(HTTPSignatureKeyResolver):
    def __init__(self, key: SigningKey) -> None:
        self.key = key

    def resolve_private_key(self, key_id: str) -> Any:
        return Ed25519PrivateKey.from_private_bytes(bytes(self.key))

    def resolve_public_key(self, key_id: str) -> Any:
        raise NotImplementedError(key_id)


@pytest.mark.parametrize(
    "covered",
    [("@method", "@target-uri"), ("@method", "@request-target"), ("@method", "@authority", "@path", "@query")],
)
def test_requests_signed_by_the_library_are_understood(node: Node, client: Identity, covered: tuple[str, ...]) -> None:
    target = f"{API}/receipts/{client.did}?limit=3"
    message = requests.Request("GET", node.http.base + target, headers={}).prepare()
    signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=Keys(client.key))
    signer.sign(message, key_id=client.did, covered_component_ids=covered, nonce=secrets.token_hex(16), tag="pouw")
    headers = {name: message.headers[name] for name in ("Signature-Input", "Signature")}
    answer = node.http.request("GET", target, None, **headers)
    assert answer.status == 200, answer.body


def test_our_signature_is_the_librarys_byte_for_byte(client: Identity) -> None:
    created, nonce = 1_700_000_000, "nonce-nonce-nonce"
    url, body = "http://node/api/v1/pouw/identities?a=b", b'{"did":"x"}'
    ours = sign_request(client.key, client.did, "POST", url, body, created=created, nonce=nonce)
    message = requests.Request("POST", url, data=body, headers={"Content-Digest": ours["Content-Digest"]}).prepare()
    HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=Keys(client.key)).sign(
        message,
        key_id=client.did,
        created=dt.datetime.fromtimestamp(created, tz=dt.UTC),
        nonce=nonce,
        tag="pouw",
        label="pouw",
        include_alg=True,
        use_existing_digest=True,
        covered_component_ids=("@method", "@target-uri", "content-digest"),
    )

    def parts(value: str) -> tuple[str, set[str]]:
        head, *rest = value.split(";")
        return head, set(rest)

    assert parts(str(message.headers["Signature-Input"])) == parts(ours["Signature-Input"])


def test_the_ed25519_vector_of_rfc_9421_verifies() -> None:
    """RFC 9421, appendix B.2.6, with the key of B.1.4, through the verifier that the node uses."""
    headers = {
        "Host": "example.com",
        "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "Content-Type": "application/json",
        "Content-Length": "18",
        "Signature-Input": 'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"',
        "Signature": "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw"
        "==:",
    }
    message = requests.Request("POST", "http://example.com/foo?param=Value&Pet=dog", headers=headers).prepare()
    key = base64.urlsafe_b64decode("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs=")

    class RfcKey(HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
            assert key_id == "test-key-ed25519"
            return Ed25519PublicKey.from_public_bytes(key)

        def resolve_private_key(self, key_id: str) -> bytes:
            raise NotImplementedError(key_id)

    verifier = Verifier(signature_algorithm=algorithms.ED25519, key_resolver=RfcKey())
    [result] = verifier.verify(message, max_age=None)
    assert result.parameters["keyid"] == "test-key-ed25519"
    message.headers["Date"] = "Tue, 20 Apr 2021 02:07:56 GMT"
    with pytest.raises(InvalidSignature):
        verifier.verify(message, max_age=None)


def test_a_signed_request_gets_a_challenge_bound_to_its_did(
    node: Node, client: Identity, db: psycopg.Connection[Any]
) -> None:
    answer = signed(node.http, client, "GET", f"{API}/challenge?cap=hash")
    assert answer.status == 200
    token = decode_wire(answer.json["token"])
    row = db.execute("SELECT bound_did FROM challenges WHERE nonce = %s", (token.challenge_nonce,)).fetchone()
    assert row == (client.did,)
    thief = Identity()
    refused = node.http.submit(thief.batch([thief.item(token)])).json["rejected"]
    assert [item["detail"] for item in refused] == ["invalid_challenge_binding"]
    assert len(node.http.accepted(client.batch([client.item(token)]))) == 1


def test_history_says_why_and_what_to_do(node: Node, client: Identity) -> None:
    token = node.http.challenge()
    items = [*client.items(token, 2), client.item(token, bytes_verified=1), {"nonsense": 1}]
    node.http.submit(client.batch(items, batch_nonce="ab" * 16))
    answer = signed(node.http, client, "GET", f"{API}/clients/{client.did}/history").json
    [batch] = answer["items"]
    assert batch["batch_nonce"] == "ab" * 16
    assert (batch["accepted"], batch["rejected"]) == (2, 2)
    assert batch["receipts"] == [item["receipt"]["receipt_nonce"] for item in items[:2]]
    few, malformed = batch["rejections"]
    assert (few["detail"], few["index"]) == ("too_few_bytes", 2)
    assert "fewer bytes" in few["meaning"]
    assert few["cure"]
    assert malformed["fault"] == "receipt: must be an object"
    assert answer["pending"]["receipts"] == 2
    receipts = signed(node.http, client, "GET", f"{API}/receipts/{client.did}").json["items"]
    assert {row["receipt_nonce"] for row in receipts} == set(batch["receipts"])
    assert {row["proof_type"] for row in receipts} == {"hash"}


def test_pages_stay_whole_while_rows_arrive(node: Node, client: Identity) -> None:
    sent: list[str] = []

    def send(count: int) -> None:
        sent.extend(node.http.accepted(client.batch(client.items(node.http.challenge(), count))))

    send(25)
    before = set(sent)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = signed(node.http, client, "GET", f"{API}/receipts/{client.did}?limit=10{cursor}").json
        seen += [row["receipt_nonce"] for row in page["items"]]
        cursor = None if page["next"] is None else f"&cursor={page['next']}"
        send(7)
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


def test_pages_hold_every_receipt_once_however_numbers_were_drawn(
    node: Node, client: Identity, db: psycopg.Connection[Any]
) -> None:
    """Two nodes that commit at the same time draw numbers for batches and for receipts in any order."""
    drawn = [(2**40 + number * 5 % 4, 2**40 + number * 7 % 20) for number in range(20)]
    db.cursor().executemany(
        "INSERT INTO receipts (batch_id, id, client_did, receipt_nonce, challenge_nonce, proof_type, bytes_verified,"
        " result_ok, body, signature, submitted_at) VALUES (%s, %s, %s, '', '', 0, 1, true, '', '', now())",
        [(*numbers, client.did) for numbers in drawn],
    )
    seen, cursor = list[tuple[int, int]](), ""
    for _ in range(7):
        page = signed(node.http, client, "GET", f"{API}/receipts/{client.did}?limit=3{cursor}").json
        seen += [(row["batch_id"], row["id"]) for row in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert seen == sorted(drawn, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=x", "cursor=-1", "cursor=1.5", "cursor=;DROP", "cursor=7", "cursor=1-2-3",
        "cursor=1-", "cursor=01-2", "cursor=1-9223372036854775808",
    ],
)  # fmt: skip
def test_a_page_that_cannot_be_is_a_problem(node: Node, client: Identity, query: str) -> None:
    answer = signed(node.http, client, "GET", f"{API}/receipts/{client.did}?{query}")
    assert answer.status == 400
    assert answer.json["errors"][0]["path"] == f"/{query.split('=', maxsplit=1)[0]}"


def test_the_node_tells_its_keys(node: Node) -> None:
    token = node.http.challenge()
    answer = node.http.get(f"{API}/node").json
    assert answer["node_id"] == token.node_id.hex()
    keys = {key["public_key"]: key for key in answer["keys"]}
    assert keys[token.node_id.hex()]["valid_until"] is None
    assert keys[token.node_id.hex()]["valid_from"] <= time.time() + 1
    assert answer["limits"]["batch_size_max"] == 100


def test_nonces_of_requests_leave_the_table(node: Node, client: Identity, db: psycopg.Connection[Any]) -> None:
    db.execute(
        "INSERT INTO request_nonces (digest, expires_at) SELECT sha256(n::text::bytea), now() - interval '1 hour'"
        " FROM generate_series(1, 8) n"
    )

    def gone() -> bool:
        signed(node.http, client, "GET", f"{API}/receipts/{client.did}")
        row = db.execute("SELECT count(*) FROM request_nonces WHERE expires_at < now()").fetchone()
        return row == (0,)

    wait_for(gone)
