"""A signing key in a real PKCS#11 token: SoftHSM2 from Debian, each test with a token store of its own.

Every program runs in a process of its own: a PKCS#11 library keeps state for its process, and gevent has to patch
before anything else is imported.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pouw import _fastverify
from pouw.client.verdicts import verify_answer
from tests.ports import free_port
from tests.support import Identity, wait_for

if TYPE_CHECKING:
    from tests.conftest import StartNode

ROOT = Path(__file__).parents[2]
LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"

pytestmark = pytest.mark.debian

PRELUDE = """
from gevent import monkey; monkey.patch_all()
import json, os, shutil, sys, time, traceback
from pathlib import Path
import gevent, pkcs11
from nacl.signing import VerifyKey
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pouw.errors import KeyMaterialError
from pouw.hsm import Pkcs11Key, generate
LIBRARY, PIN, TOKENS = os.environ["LIBRARY"], os.environ["PIN"], Path(os.environ["TOKENS"])

def uri(name, token="node", library=LIBRARY):
    return f"pkcs11:token={token};{name}?module-path={library}"

def valid(key, message=b"message"):
    VerifyKey(key.public_key).verify(message, key.sign(message))
    return True

def refusal(function, *arguments):
    try:
        function(*arguments)
    except KeyMaterialError as error:
        assert PIN not in "".join(traceback.format_exception(error))
        return str(error)
    return "not refused"

def pair(raw, label, id, curve="06032b6570", kind=KeyType.EC_EDWARDS, mechanism=None, **more):
    domain = raw.create_domain_parameters(kind, {Attribute.EC_PARAMS: bytes.fromhex(curve)}, local=True)
    return domain.generate_keypair(label=label, id=id, store=True, mechanism=mechanism, **more)

def session(pin=None):  # without a PIN where a key of this process has logged in
    return pkcs11.lib(LIBRARY).get_token(token_label="node").open(rw=True, user_pin=pin)
"""


@dataclass(frozen=True, slots=True)
class Store:
    """A token store with a token ``node``."""

    folder: Path
    pin: str

    def env(self) -> dict[str, str]:
        return os.environ | {
            "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf"),
            "PIN": self.pin,
            "LIBRARY": LIBRARY,
            "TOKENS": str(self.folder / "tokens"),
            "PYTHONPATH": str(ROOT),
        }

    def init_token(self, label: str) -> None:
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "0000", "--pin", self.pin]
        subprocess.run(command, env=self.env(), check=True, capture_output=True, timeout=60)

    def run(self, program: str) -> Any:
        """Run a program after the prelude and return what it prints as JSON; it has to end well and in silence."""
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program], env=self.env(), capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    subprocess.run([ROOT / "tools" / "debian.sh", "softhsm2"], check=True, timeout=300)
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    made = Store(tmp_path, secrets.token_hex(8))
    made.init_token("node")
    return made


def test_a_generated_key_signs_and_cannot_be_read_out(store: Store) -> None:
    made = store.run("""
public = generate(uri("object=sign"), PIN)
again = refusal(generate, uri("object=sign"), PIN)
unnamed = refusal(generate, uri("id=%01"), PIN)
print(json.dumps([public.hex(), again, unnamed]))
""")
    assert "of this name already" in made[1]
    assert "object=" in made[2]
    signed = store.run("""
key = Pkcs11Key(uri("object=sign"), PIN)
signatures = [key.sign(message).hex() for message in (b"one", b"", b"x" * 70_000)]
[private] = session().get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
try:
    read = private[Attribute.VALUE].hex()
except pkcs11.AttributeSensitive:
    read = "refused"
flags = [private[Attribute.EXTRACTABLE], private[Attribute.NEVER_EXTRACTABLE], private[Attribute.ALWAYS_SENSITIVE]]
shown = repr(key)
key.close()
key.close()
print(json.dumps([key.public_key.hex(), signatures, read, flags, shown, refusal(key.sign, b"closed")]))
""")
    public, signatures, read, flags, shown, closed = signed
    assert public == made[0]
    receipts = [b"one", b"", b"x" * 70_000]
    assert [len(signature) for signature in signatures] == [128] * 3
    key = _fastverify.PublicKey(bytes.fromhex(public))
    verified = _fastverify.verify(receipts, [bytes.fromhex(text) for text in signatures], key)
    assert list(verified) == [1, 1, 1]
    assert read == "refused"
    assert flags == [False, True, True]
    assert shown == f"Pkcs11Key({public})"
    assert closed == "the key was closed"


def test_what_is_refused_and_how_it_is_said(store: Store) -> None:
    store.init_token("twin")
    store.init_token("twin")
    said = store.run(f"""
raw = session(PIN)
pair(raw, "p256", b"1", "06082a8648ce3d030107", KeyType.EC)
pair(raw, "two", b"2")
pair(raw, "two", b"3")
pair(raw, "lonely", b"4")[0].destroy()
pair(raw, "verifies", b"5", capabilities=MechanismFlag.VERIFY)
stranger, _ = pair(raw, "stranger", b"6")
pair(raw, "crossed", b"7")[0].destroy()
stranger[Attribute.LABEL], stranger[Attribute.ID] = "crossed", b"7"
pkcs11.lib(LIBRARY).finalize()
no_library = {str(ROOT / "README.md")!r}
print(json.dumps({{
    "pin": refusal(Pkcs11Key, uri("object=two;id=2"), "not-the-pin"),
    "no_pin": refusal(Pkcs11Key, uri("object=two;id=2"), ""),
    "odd_pin": refusal(Pkcs11Key, uri("object=two;id=2"), "a\\udcff" + PIN),
    "uri": refusal(Pkcs11Key, "pkcs11:", PIN),
    "token": refusal(Pkcs11Key, uri("object=two;id=2", token="other"), PIN),
    "tokens": refusal(Pkcs11Key, uri("object=two;id=2", token="twin"), PIN),
    "object": refusal(Pkcs11Key, uri("object=none"), PIN),
    "type": refusal(Pkcs11Key, uri("object=p256"), PIN),
    "ambiguous": refusal(Pkcs11Key, uri("object=two"), PIN),
    "lonely": refusal(Pkcs11Key, uri("object=lonely"), PIN),
    "verifies": refusal(Pkcs11Key, uri("object=verifies"), PIN),
    "crossed": refusal(Pkcs11Key, uri("object=crossed"), PIN),
    "taken": refusal(generate, uri("object=lonely"), PIN),
    "absent": refusal(Pkcs11Key, uri("object=two", library="/nowhere/library.so"), PIN),
    "no_library": refusal(Pkcs11Key, uri("object=two", library=no_library), PIN),
    "other_library": refusal(Pkcs11Key, uri("object=two", library={_fastverify.__file__!r}), PIN),
    "by_id": valid(Pkcs11Key(uri("id=3"), PIN)) and valid(Pkcs11Key(uri("object=two;id=2"), PIN)),
}}))
""")
    assert said.pop("by_id")
    expected = {
        "pin": "PinIncorrect",
        "no_pin": "PIN is empty",
        "odd_pin": "cannot be printed",
        "uri": "module-path",
        "token": "no such token",
        "tokens": "several tokens",
        "object": "no private key of this name",
        "type": "another type than Ed25519",
        "ambiguous": "several private keys",
        "lonely": "public object is needed",
        "verifies": "not one that may sign",
        "crossed": "not one Ed25519 pair",
        "taken": "of this name already",
        "absent": "No such file",
        "no_library": "invalid ELF header",
        "other_library": "C_GetFunctionList",
    }
    assert said.keys() == expected.keys()
    assert {name: expected[name] in text for name, text in said.items()} == dict.fromkeys(expected, True), said


def test_every_form_of_a_public_key_is_read_and_only_of_ed25519(store: Store) -> None:
    """Makers of tokens disagree on CKA_EC_POINT: the bytes as they are, in an OCTET STRING, or in a BIT STRING."""
    said = store.run("""
raw = session(PIN)
public, _ = pair(raw, "sign", b"1")
point = bytes(public[Attribute.EC_POINT])[-32:]
public.destroy()

def opened(encoded):
    made = raw.create_object({
        Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC_EDWARDS, Attribute.LABEL: "sign",
        Attribute.ID: b"1", Attribute.EC_PARAMS: bytes.fromhex("06032b6570"), Attribute.EC_POINT: encoded,
    })
    said = refusal(lambda: Pkcs11Key(uri("object=sign"), PIN).public_key == point or "another key")
    made.destroy()
    return said

good = [point, b"\\x04\\x20" + point, b"\\x03\\x21\\x00" + point]
bad = [b"", point[1:], b"\\x05\\x20" + point, b"\\x04\\x39" + bytes(57), bytes([0xEE]) + b"\\xff" * 30 + b"\\x7f"]
print(json.dumps([[opened(encoded) for encoded in good], [opened(encoded) for encoded in bad]]))
""")
    assert said[0] == ["not refused"] * 3
    assert ["public key is not" in text for text in said[1]] == [True] * 5, said[1]


def test_a_worker_opens_after_its_fork_and_a_key_comes_through_one(store: Store) -> None:
    parts = store.run("""
generate(uri("object=sign"), PIN)
answer = TOKENS.with_name("answer")

def in_a_child(work):
    child = os.fork()
    if child == 0:
        try:
            answer.write_text(json.dumps(work()))
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.waitpid(child, 0)
    return json.loads(answer.read_text())

def worker():
    key = Pkcs11Key(uri("object=sign"), PIN)
    jobs = [gevent.spawn(valid, key, b"%d" % number) for number in range(5)]
    gevent.joinall(jobs, raise_error=True)
    key.close()
    return [job.value for job in jobs]

def inherited_but_not_used():
    key.close()
    return refusal(key.sign, b"closed")

before = [in_a_child(worker), in_a_child(worker)]
key = Pkcs11Key(uri("object=sign"), PIN)
inherited = [valid(key), in_a_child(lambda: valid(key)), in_a_child(worker), valid(key)]
not_logged_in = in_a_child(lambda: refusal(Pkcs11Key, uri("object=sign"), "not-the-pin"))
print(json.dumps([before, inherited, in_a_child(inherited_but_not_used), valid(key), not_logged_in]))
""")
    assert parts[:4] == [[[True] * 5] * 2, [True, True, [True] * 5, True], "the key was closed", True]
    assert "PinIncorrect" in parts[4], "the child went on in its parent's session"


TICKER = """
generate(uri("object=sign"), PIN)
key = Pkcs11Key(uri("object=sign"), PIN)
events = []

def tick():
    while True:
        events.append("tick")
        gevent.sleep(0)

def sign(number):
    message = b"%d" % number
    signature = key.sign(message)
    events.append("signed")
    VerifyKey(key.public_key).verify(message, signature)

ticker = gevent.spawn(tick)
gevent.joinall([gevent.spawn(sign, number) for number in range(20)], raise_error=True)
ticker.kill()
key.close()
print(json.dumps(events))
"""


def between_signatures(events: list[str]) -> list[str]:
    assert events.count("signed") == 20
    first = events.index("signed")
    last = len(events) - events[::-1].index("signed")
    return events[first:last]


def test_the_event_loop_goes_on_while_twenty_greenlets_sign(store: Store) -> None:
    assert "tick" in between_signatures(store.run(TICKER))


def test_signing_on_the_loop_itself_would_stop_it(store: Store) -> None:
    """The test above can fail: without the hop to a thread nothing else runs between the signatures."""
    inline = TICKER.replace("key.sign(message)", "key._signature(message)")
    assert "tick" not in between_signatures(store.run(inline))


def test_two_keys_of_one_token_do_not_end_each_other(store: Store) -> None:
    answers = store.run("""
generate(uri("object=sign;id=%01"), PIN)
generate(uri("object=sign;id=%02"), PIN)
first, second, third = (Pkcs11Key(uri(f"object=sign;id=%0{number}"), PIN) for number in (1, 2, 1))
assert first.public_key == third.public_key != second.public_key
third.close()
answers = [valid(first), valid(second)]
pkcs11.lib(LIBRARY).finalize()  # their sessions' numbers are given again, to the other key
answers += [valid(second), valid(first), valid(second)]
first.close()
print(json.dumps([*answers, valid(second)]))
""")
    assert answers == [True] * 6


def test_a_token_that_goes_and_comes_back(store: Store) -> None:
    answers = store.run("""
generate(uri("object=sign"), PIN)
key = Pkcs11Key(uri("object=sign"), PIN)
pkcs11.lib(LIBRARY).finalize()
finalised = valid(key)
TOKENS.rename(TOKENS.with_name("away"))
gone = [refusal(key.sign, b"message") for _ in range(3)]
TOKENS.mkdir()
time.sleep(1.1)
emptied = refusal(key.sign, b"message")
TOKENS.rmdir()
TOKENS.with_name("away").rename(TOKENS)
time.sleep(1.1)
back = valid(key)
shutil.rmtree(TOKENS)
deleted = refusal(key.sign, b"message")
key.close()
print(json.dumps([finalised, gone, emptied, back, deleted]))
""")
    finalised, gone, emptied, back, deleted = answers
    assert finalised
    assert back
    assert ["refuses" in text for text in (*gone, deleted)] == [True] * 4, answers
    assert emptied == "there is no such token"


def test_another_key_of_the_same_name_is_not_taken(store: Store) -> None:
    said = store.run("""
generate(uri("object=sign"), PIN)
key = Pkcs11Key(uri("object=sign"), PIN)
for found in list(session().get_objects({Attribute.LABEL: "sign"})):
    found.destroy()
assert generate(uri("object=sign"), PIN) != key.public_key
print(json.dumps([refusal(key.sign, b"message"), key.public_key.hex()]))
""")
    assert "holds another key now" in said[0]


def test_a_pin_that_became_wrong_is_tried_once(store: Store) -> None:
    """Real tokens lock themselves after a few wrong PINs."""
    said = store.run("""
generate(uri("object=sign"), PIN)
key = Pkcs11Key(uri("object=sign"), PIN)
session().set_pin(PIN, "other-pin")
pkcs11.lib(LIBRARY).finalize()
first = refusal(key.sign, b"message")
changing = session("other-pin")
changing.set_pin("other-pin", PIN)
changing.close()
time.sleep(1.1)
print(json.dumps([first, refusal(key.sign, b"message"), valid(Pkcs11Key(uri("object=sign"), PIN))]))
""")
    assert "PinIncorrect" in said[0]
    assert said[1] == said[0]
    assert said[2]


def test_what_the_document_shows(store: Store) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "hsm.md").read_text(), re.MULTILINE | re.DOTALL)
    script = "set -e\n" + "".join(blocks).replace(".venv/bin", str(Path(sys.executable).parent))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=store.folder,
        env=store.env(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *_, made, shown = done.stdout.splitlines()
    assert shown == f"{made} 64"
    assert (store.folder / "pkcs11.pin").stat().st_mode & 0o777 == 0o600


def test_a_node_signs_with_a_key_in_a_token_beside_one_in_memory(
    store: Store, start_node: StartNode, database_url: str
) -> None:
    """And goes over to it: the way of a network that moves into hardware."""
    uri = f"pkcs11:token=node;object=node?module-path={LIBRARY}"
    settings = {"pkcs11_pin": store.pin, "node_key_pkcs11": uri, "SOFTHSM2_CONF": store.env()["SOFTHSM2_CONF"]}
    environ = store.env() | {"POUW_PKCS11_PIN": store.pin, "POUW_DATABASE_URL": database_url}
    pouw = [sys.executable, "-m", "pouw", "key"]
    made = subprocess.run([*pouw, "create", "--pkcs11", uri], env=environ, check=True, capture_output=True, text=True)
    key = made.stdout.strip()
    node = start_node(database_url, **settings)
    first = node.http.challenge().node_id.hex()
    assert first != key
    wait_for(lambda: node.http.get("/health").status == 200 and key in staged(pouw, environ))
    subprocess.run([*pouw, "activate", key], env=environ, check=True, capture_output=True)
    wait_for(lambda: {node.http.challenge().node_id.hex() for _ in range(6)} == {key})
    client = Identity()
    body = client.batch(client.items(node.http.challenge(), 3))
    verdict = verify_answer(node.http.submit(body).json, body=body)
    assert verdict.node_id.hex() == key
    assert len(verdict.accepted) == 3
    assert store.pin not in node.log.read_text()
    node.stop()


def staged(pouw: list[str], environ: dict[str, str]) -> str:
    return subprocess.run([*pouw, "list"], env=environ, check=True, capture_output=True, text=True).stdout


def test_a_wrong_pin_stops_the_node_at_its_start(store: Store, start_node: StartNode, database_url: str) -> None:
    """And is not tried again and again by new workers until the token locks itself."""
    uri = f"pkcs11:token=node;object=node?module-path={LIBRARY}"
    environ = store.env() | {
        "POUW_PKCS11_PIN": "wrong-pin",
        "POUW_NODE_KEY_PKCS11": uri,
        "POUW_DATABASE_URL": database_url,
        "POUW_WORKERS": "1",
        "POUW_PORT": str(free_port()),
        "POUW_METRICS_PORT": str(free_port()),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pouw", "serve"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "wrong-pin" not in done.stderr
    assert done.stderr.count("Booting worker") == 1, done.stderr
