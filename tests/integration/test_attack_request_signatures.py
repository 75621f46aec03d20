"""Signed requests (RFC 9421) by someone who may choose every byte of the three headers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pouw.client.signing import sign_request
from tests.integration.test_signed_requests import OPERATOR, node
from tests.support import API, Http, Identity, Node, signed

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests.conftest import StartNode
    from tests.support import Response

__all__ = ["node"]

TARGET = '"@method" "@target-uri"'


def parameters(did: str, covered: str = TARGET, **changes: Any) -> str:
    """Return the parameters of a good signature with ``changes``; None leaves one out."""
    values: dict[str, Any] = {
        "created": int(time.time()),
        "keyid": f'"{did}"',
        "alg": '"ed25519"',
        "nonce": f'"{secrets.token_hex(16)}"',
        "tag": '"pouw"',
    }
    chosen = (values | changes).items()
    return f"({covered})" + "".join(f";{name}={value}" for name, value in chosen if value is not None)


def base_of(url: str, given: str, method: str = "GET", extra: str = "") -> bytes:
    return f'"@method": {method}\n"@target-uri": {url}\n{extra}"@signature-params": {given}'.encode()


def encoded(signature: bytes) -> str:
    return f":{base64.b64encode(signature).decode()}:"


def ask(http: Http, path: str, inputs: str, signatures: str, **headers: str) -> Response:
    return http.request("GET", path, None, Signature_Input=inputs, Signature=signatures, **headers)


def read(http: Http, who: Identity, given: str) -> Response:
    """Read one's own receipts with these parameters, signed as they are."""
    path = f"{API}/receipts/{who.did}"
    signature = who.key.sign(base_of(http.base + path, given)).signature
    return ask(http, path, f"a={given}", f"a={encoded(signature)}")


def now(offset: int) -> int:
    return int(time.time()) + offset


WRONG: dict[str, dict[str, Any]] = {
    "no tag": {"tag": None},
    "another tag": {"tag": '"POUW"'},
    "tag as a token": {"tag": "pouw"},
    "no created": {"created": None},
    "created long ago": {"created": now(-200)},
    "created in the future": {"created": now(10**6)},
    "created as a string": {"created": '"1"'},
    "created beyond all time": {"created": 999_999_999_999_999},
    "created before all time": {"created": -999_999_999_999_999},
    "created as a fraction": {"created": f"{now(0)}.5"},
    "expired": {"expires": now(-100)},
    "expires as a string": {"expires": f'"{now(100)}"'},
    "no nonce": {"nonce": None},
    "empty nonce": {"nonce": '""'},
    "nonce as bytes": {"nonce": ":bm9uY2Vub25jZW5vbmNl:"},
    "no keyid": {"keyid": None},
    "empty keyid": {"keyid": '""'},
    "keyid as a token": {"keyid": "did"},
    "hmac": {"alg": '"hmac-sha256"'},
    "rsa": {"alg": '"rsa-pss-sha512"'},
    "rsa of version 1.5": {"alg": '"rsa-v1_5-sha256"'},
    "ecdsa": {"alg": '"ecdsa-p256-sha256"'},
    "no algorithm": {"alg": '"none"'},
    "algorithm in capitals": {"alg": '"ED25519"'},
    "unknown parameter": {"admin": "?1"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_parameters_that_are_signed_and_wrong_all_the_same(
    node: Node, client: Identity, changes: dict[str, Any]
) -> None:
    """The holder of the key signs parameters that the protocol does not allow."""
    answer = read(node.http, client, parameters(client.did, **changes))
    assert (answer.status, answer.json["type"]) == (401, "urn:pouw:problem:signature-required")
    assert read(node.http, client, parameters(client.did)).status == 200


def test_parameters_that_stand_twice(node: Node, client: Identity) -> None:
    """A second ``keyid`` or ``created``, of which two readers could take different ones, lends nobody's rights."""
    victim = Identity()
    path = f"{API}/receipts/{victim.did}"
    for first, second in ((client.did, victim.did), (victim.did, client.did)):
        given = parameters(first) + f';keyid="{second}"'
        signature = client.key.sign(base_of(node.http.base + path, given)).signature
        assert ask(node.http, path, f"a={given}", f"a={encoded(signature)}").status in (401, 403)
        [*kept, tag] = parameters(first).split(";")
        last_only = ";".join(part for part in [*kept, tag] if not part.startswith("keyid")) + f';keyid="{second}"'
        signature = client.key.sign(base_of(node.http.base + path, last_only)).signature
        assert ask(node.http, path, f"a={given}", f"a={encoded(signature)}").status in (401, 403)


COVERED = {
    "nothing": "",
    "the method alone": '"@method"',
    "no method": '"@target-uri"',
    "the path without the query": '"@method" "@path"',
    "the query without the path": '"@method" "@query"',
    "the host alone": '"@method" "@authority"',
    "a target that stands twice": '"@method" "@target-uri" "@target-uri"',
    "an answer's target": '"@method" "@target-uri";req',
    "a target with a parameter": '"@method" "@target-uri";x',
    "a header that is called so": '"@method" "target-uri"',
    "the status": '"@method" "@target-uri" "@status"',
    "the parameters themselves": '"@method" "@target-uri" "@signature-params"',
    "a header that is not there": '"@method" "@target-uri" "x-nothing"',
    "in capitals": '"@METHOD" "@TARGET-URI"',
    "tokens": "method target-uri",
    "numbers": "1 2",
}


@pytest.mark.parametrize("covered", COVERED.values(), ids=COVERED)
def test_a_signature_that_covers_too_little_or_nonsense(node: Node, client: Identity, covered: str) -> None:
    """Each component is signed with the value that a lenient verifier would find."""
    path = f"{API}/receipts/{client.did}"
    values = {
        '"@method"': "GET", '"@METHOD"': "GET", '"@path"': path, '"@query"': "?", '"@status"': "200",
        '"@authority"': node.http.base.removeprefix("http://"),
    }  # fmt: skip
    given = parameters(client.did, covered)
    lines = [f"{name}: {values.get(name, node.http.base + path)}" for name in covered.split()]
    base = "\n".join([*lines, f'"@signature-params": {given}']).encode()
    assert ask(node.http, path, f"a={given}", f"a={encoded(client.key.sign(base).signature)}").status == 401


def test_two_signatures_in_one_header(node: Node, client: Identity) -> None:
    """A stranger's own good signature beside a forged one of the victim, and the other way round: neither helps."""
    victim, http = Identity(), node.http
    path = f"{API}/receipts/{victim.did}"
    own, theirs = parameters(client.did), parameters(victim.did)
    good = encoded(client.key.sign(base_of(http.base + path, own)).signature)
    forged = encoded(client.key.sign(base_of(http.base + path, theirs)).signature)
    other_tag = parameters(victim.did, tag='"other"')
    for inputs, signatures, status in (
        (f"a={own}, b={theirs}", f"a={good}, b={forged}", 401),
        (f"b={theirs}, a={own}", f"b={forged}, a={good}", 401),
        (f"a={own}, a={theirs}", f"a={good}", 401),
        (f"a={theirs}, b={own}", f"a={good}, b={good}", 401),
        (f"a={own}, b={own}", f"a={good}, b={good}", 401),
        (f"a={own}", f"a={good}, b={forged}", 401),
        (f"a={theirs}, b={own}", f"a={good}", 401),
        (f"a={own}, b={other_tag}", f"a={good}, b={forged}", 403),
    ):
        answer = ask(http, path, inputs, signatures)
        assert answer.status == status, (inputs, answer.body)


def test_another_algorithm_with_what_is_public(node: Node, client: Identity) -> None:
    """HMAC under the public key, RSA under a key of one's own: whatever ``alg`` says, only Ed25519 counts."""
    path = f"{API}/receipts/{client.did}"
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA512()), 64)
    makers: dict[str, Callable[[bytes], bytes]] = {
        "hmac-sha256": lambda base: hmac.digest(client.public_key, base, "sha256"),
        "rsa-pss-sha512": lambda base: rsa_key.sign(base, pss, hashes.SHA512()),
        "ed25519": lambda base: hmac.digest(client.public_key, base, "sha512"),
    }
    for name, make in makers.items():
        for given in (parameters(client.did, alg=f'"{name}"'), parameters(client.did, alg=None)):
            signature = make(base_of(node.http.base + path, given))
            assert ask(node.http, path, f"a={given}", f"a={encoded(signature)}").status == 401, name
    for empty in (b"", bytes(64), b"\xff" * 64, bytes(10_000)[:4000]):
        given = parameters(client.did)
        assert ask(node.http, path, f"a={given}", f"a={encoded(empty)}").status == 401


def test_malleable_signatures_of_requests(node: Node, client: Identity) -> None:
    """``S + L`` over a request that counts is no second proof, nor does it take the first one's nonce."""
    order = 2**252 + 27742317777372353535851937790883648493
    path, given = f"{API}/receipts/{client.did}", parameters(client.did)
    signature = client.key.sign(base_of(node.http.base + path, given)).signature
    twin = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert ask(node.http, path, f"a={given}", f"a={encoded(twin)}").status == 401
    assert ask(node.http, path, f"a={given}", f"a={encoded(signature)}").status == 200
    assert ask(node.http, path, f"a={given}", f"a={encoded(twin)}").status == 401


HOSTILE = ["(", ")", "=", ";" * 4000, "a=" + "(" * 4000, "a=()" + ";x" * 2000, "a=(" + '"@method" ' * 700 + ")", ","]
HOSTILE += ['a=("@method";key="x" "@target-uri")', 'a=("@query-param";name="%ff")', "a=:x", "a=?1", "a=1", "a"]
HOSTILE += [", ".join(f"s{n}=()" for n in range(700)), "a=(" + '"' + "x" * 8000, "\xff\xfe", "a=(\xe4)", "\u007e" * 99]
HOSTILE += ['a=("@method" "content-digest";bs;sf)', 'a=("signature";key="a")', 'a=("host";tr)', "a=();created=-0"]


def test_hostile_headers_are_never_more_than_a_401(node: Node, client: Identity) -> None:
    """Very long, deeply nested, half-open and foreign structured fields in each of the headers."""
    path = f"{API}/receipts/{client.did}"
    good = parameters(client.did)
    for text in HOSTILE:
        for inputs, signatures in ((text, "a=:AAAA:"), (f"a={good}", text), (text, text), (f"a={good}{text}", "a=::")):
            answer = ask(node.http, path, inputs[:8000], signatures[:8000])
            assert answer.status == 401, (text[:40], answer.body)
        signature = client.key.sign(b"x").signature
        answer = ask(node.http, path, f"a={good}", f"a={encoded(signature)}", Content_Digest=text[:8000])
        assert answer.status == 401, text[:40]


DIGESTS: dict[str, Callable[[str, str], str]] = {
    "of another body": lambda _good, bad: f"sha-256=:{bad}:",
    "twice, the good one first": lambda good, bad: f"sha-256=:{good}:, sha-256=:{bad}:",
    "twice, the good one last": lambda good, bad: f"sha-256=:{bad}:, sha-256=:{good}:",
    "md5": lambda _good, _bad: f"md5=:{base64.b64encode(bytes(16)).decode()}:",
    "short": lambda good, _bad: f"sha-256=:{good[:4]}:",
    "as a string": lambda good, _bad: f'sha-256="{good}"',
    "in capitals": lambda good, _bad: f"SHA-256=:{good}:",
    "none": lambda _good, _bad: "x",
}


@pytest.mark.parametrize("form", DIGESTS.values(), ids=DIGESTS)
def test_a_digest_that_covers_another_body(
    node: Node, client: Identity, form: Callable[[str, str], str], db: psycopg.Connection[Any]
) -> None:
    """The operator signs a digest that is not, or not only, that of the body: nothing is registered."""
    did = f"did:zhtp:{secrets.token_hex(8)}"
    body = f'{{"did": "{did}", "public_key": "{client.public_key.hex()}"}}'.encode()
    good, bad = (base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (body, b"{}"))
    path, digest = f"{API}/identities", form(good, bad)
    given = parameters(OPERATOR.did, TARGET + ' "content-digest"')
    base = base_of(node.http.base + path, given, "POST", f'"content-digest": {digest}\n')
    signature = encoded(OPERATOR.key.sign(base).signature)
    answer = node.http.request(
        "POST", path, body, Signature_Input=f"a={given}", Signature=f"a={signature}", Content_Digest=digest,
        Content_Type="application/json",
    )  # fmt: skip
    assert answer.status == 401, answer.body
    assert db.execute("SELECT 1 FROM identities WHERE did = %s", (did,)).fetchone() is None


def test_an_absolute_target_does_not_bring_another_nodes_request_in(
    start_node: StartNode, shared_url: str, client: Identity
) -> None:
    """A request that was signed for another node, sent here in absolute form beside this node's own name."""
    own = start_node(shared_url, public_hosts="node.example", workers=1)
    path = f"{API}/receipts/{client.did}"

    def status(target: str, host: str) -> int:
        made: dict[str, Any] = {"created": int(time.time()), "nonce": secrets.token_hex(16)}
        headers = sign_request(client.key, client.did, "GET", target, None, **made)
        lines = [f"GET {target if host != 'evil.example' else path} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        with socket.create_connection(("127.0.0.1", own.port), timeout=30) as peer:
            peer.sendall("\r\n".join([*lines, "", ""]).encode())
            return int(peer.makefile("rb").readline().split()[1])

    assert status(f"http://evil.example{path}", "evil.example") == 401
    assert status(f"http://evil.example{path}", "node.example") == 401
    assert status(f"http://node.example@evil.example{path}", "node.example") == 401
    assert status(f"http://node.example{path}", "node.example") == 200
    own.stop()


def test_a_thief_does_not_use_up_the_victims_nonces(node: Node, client: Identity) -> None:
    """A forged request with the nonce that the victim is about to use does not make it a used one."""
    thief, nonce = Identity(), secrets.token_hex(16)
    path = f"{API}/receipts/{client.did}"
    assert signed(node.http, thief, "GET", path, did=client.did, nonce=nonce).status == 401
    assert signed(node.http, thief, "GET", path, nonce=nonce).status == 403
    assert signed(node.http, client, "GET", path, nonce=nonce).status == 200
    assert signed(node.http, client, "GET", path, nonce=nonce).status == 401
