"""An export is enough for a stranger: everything is computed anew, and one changed byte is found."""

from __future__ import annotations

import json
import lzma
import os
import secrets
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from pouw.cli import main
from pouw.errors import AuditError, EpochError
from pouw.keys import NodeKey
from pouw.protocol.manifests import canonical, decode, signed_bytes
from pouw.protocol.rewards import Terms
from pouw.protocol.types import ProofType
from pouw.service.audit import audit
from pouw.service.epochs import Epochs
from pouw.service.exports import export
from pouw.settings import Settings
from pouw.store.pool import open_pool
from tests.integration.test_attack_signatures import TORSION, L, cofactored, details, item, signer
from tests.support import API, Identity, Node, node_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pouw.store.pool import Pool
    from tests.conftest import StartNode

KEY = NodeKey(SigningKey.generate())
RULES = Settings.from_env(
    {"POUW_NODE_SECRET_KEY": node_key(), "POUW_DATABASE_URL": "postgresql://h/d"}
).epoch_terms.rules


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    """A node that took receipts of three DIDs in one epoch, whose number is in ``node.environ['EPOCH']``."""
    started = start_node(new_database(), epoch_genesis=int(time.time()) - 5 * 3600, epoch_secs=7 * 3600)
    token = started.http.challenge()
    for number, kind in enumerate((ProofType.HASH, ProofType.MERKLE, ProofType.SIGNATURE)):
        client = Identity()
        started.http.accepted(client.batch(client.items(token, 3 + number, proof_type=kind)))
        started.http.accepted(client.batch(client.items(token, 1, proof_type=kind, result_ok=False)))
    pool = open_pool(started.environ["POUW_DATABASE_URL"], size=2, timeout=30)
    assert epochs(pool).close(0)
    pool.close()
    yield started
    started.stop()


def epochs(pool: Pool) -> Epochs:
    return Epochs(pool, Terms(RULES, None, 7 * 3600, 1024), signer=lambda: KEY)


@pytest.fixture
def pool(node: Node) -> Iterator[Pool]:
    opened = open_pool(node.environ["POUW_DATABASE_URL"], size=2, timeout=30)
    yield opened
    opened.close()


@pytest.fixture
def file(pool: Pool, tmp_path: Path) -> Path:
    assert export(pool, 0, tmp_path / "epoch-0.jsonl.xz") == (15, 3)
    return tmp_path / "epoch-0.jsonl.xz"


def cli(*arguments: str, fails: bool = False, url: str | None = None) -> str:
    done = CliRunner().invoke(main, list(arguments), env={"POUW_DATABASE_URL": url})
    assert (done.exit_code != 0) == fails, done.output
    return done.output


def test_a_stranger_finds_everything_right_without_a_database(file: Path) -> None:
    """In a process that has no settings at all."""
    done = subprocess.run(
        [sys.executable, "-m", "pouw", "audit", str(file), "--node", KEY.public_key.hex()],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    weight = 3 * 1 + 4 * 2 + 5 * 3
    assert f"15 receipts, 3 clients, {weight * 10**12} atoms allocated, 0 unallocated" in done.stdout


def test_an_audit_judges_signatures_as_the_node_does(
    start_node: StartNode, new_database: Callable[[], str], client: Identity, tmp_path: Path
) -> None:
    """What is credited because of the rule's cofactor, and by libsodium's would not be, passes the audit."""
    own = start_node(new_database(), epoch_genesis=int(time.time()) - 5 * 3600, epoch_secs=7 * 3600)
    by, token = signer(secrets.randbelow(L - 1) + 1), own.http.challenge()
    items = [item(by, client, token, partial(cofactored, by, torsion)) for torsion in TORSION.values()]
    assert details(own.http, by, items) == ["accepted"] * len(items)
    opened = open_pool(own.environ["POUW_DATABASE_URL"], size=2, timeout=30)
    assert epochs(opened).close(0)
    file = tmp_path / "torsion.jsonl.xz"
    assert export(opened, 0, file) == (len(items), 1)
    opened.close()
    own.stop()
    assert audit(file).manifest.receipts == len(items)
    for value in lines(file)[1 : 1 + len(items)]:
        with pytest.raises(BadSignatureError):
            VerifyKey(by.public).verify(bytes.fromhex(value["receipt"]), bytes.fromhex(value["signature"]))


def test_one_changed_bit_anywhere_makes_it_fail(file: Path, tmp_path: Path) -> None:
    good = file.read_bytes()
    changed = tmp_path / "changed"
    for at in range(0, len(good), max(1, len(good) // 500)):
        bad = bytearray(good)
        bad[at] ^= 1 << (at % 8)
        changed.write_bytes(bad)
        with pytest.raises(AuditError):
            audit(changed)
    for bad_file in (good[:-1], good[: len(good) // 2], b"", good + b"x"):
        changed.write_bytes(bad_file)
        with pytest.raises(AuditError):
            audit(changed)


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in lzma.decompress(file.read_bytes()).splitlines()]


def write(file: Path, values: list[Any]) -> Path:
    file.write_bytes(lzma.compress(b"".join(canonical(value) + b"\n" for value in values)))
    return file


def change(values: list[Any], line: int, **members: Any) -> None:
    values[line - 1] |= members


def change_manifest(values: list[Any], **members: Any) -> None:
    """Change the manifest and sign it again, as a node that lies does."""
    manifest = values[0]["manifest"] | members
    signature = KEY.sign(signed_bytes(canonical(manifest))).hex()
    values[0] |= {"manifest": manifest, "signature": signature}


def swap(values: list[Any], line: int) -> None:
    values[line - 1], values[line] = values[line], values[line - 1]


def pretend(values: list[Any]) -> None:
    """Put another DID into a receipt."""
    body = bytes.fromhex(values[1]["receipt"]).replace(b"did:key:z6Mk", b"did:key:z6Mj", 1)
    change(values, 2, receipt=body.hex())


REWARD = "the reward has to be"
E12 = "0" * 12
LIES: list[tuple[Callable[[list[Any]], Any], int, str]] = [
    (lambda values: change(values, 2, signature=values[2]["signature"]), 2, "signature is not valid"),
    (pretend, 2, "signature is not valid"),
    (lambda values: swap(values, 2), 3, "out of order"),
    (lambda values: change(values, 3, **values[1]), 3, "twice"),
    (lambda values: values.pop(3), 16, "no receipt"),
    (lambda values: change(values, 17, allocated_atoms="1"), 17, REWARD),
    (lambda values: swap(values, 17), 17, REWARD),
    (lambda values: values[0]["manifest"].update(receipts=14), 1, "signature is not its node's"),
    (lambda values: change_manifest(values, receipts_root="00" * 32), 16, "Merkle root"),
    (lambda values: change_manifest(values, rewards_root="00" * 32), 19, "Merkle root"),
    (
        lambda values: change_manifest(values, computed_atoms="27" + "0" * 12, unallocated_atoms="1" + "0" * 12),
        19,
        "sums",
    ),
    (lambda values: change_manifest(values, budget_left_atoms="1000"), 17, REWARD),
    (lambda values: change_manifest(values, clients=4), 16, "3 DIDs worked"),
    (lambda values: change(values, 20, end={"receipts": 14, "rewards": 3}), 20, "the last line"),
    (lambda values: values.append(values[19]), 21, "more than"),
    (lambda values: values.pop(19), 20, "ends early"),
    (lambda values: change(values, 2, signature="zz"), 2, "no receipt"),
]


@pytest.mark.parametrize("lie", range(len(LIES)))
def test_a_node_that_lies_is_found_out_at_the_line(file: Path, tmp_path: Path, lie: int) -> None:
    """The node signs whatever it likes; the first line that does not hold is named."""
    tell, line, said = LIES[lie]
    values = lines(file)
    assert len(values) == 1 + 15 + 3 + 1
    tell(values)
    with pytest.raises(AuditError, match=said) as caught:
        audit(write(tmp_path / "lie", values))
    assert str(caught.value).startswith(f"line {line}:"), caught.value


def test_lines_in_another_form_are_refused(file: Path, tmp_path: Path) -> None:
    text = lzma.decompress(file.read_bytes())
    for bad in (text.replace(b'","signature"', b'", "signature"'), b" " + text, text + b"\n", b"x\n" + text):
        (tmp_path / "bad").write_bytes(lzma.compress(bad))
        with pytest.raises(AuditError, match=r"canonical|JSON|more than"):
            audit(tmp_path / "bad")
    (tmp_path / "bad").write_bytes(lzma.compress(b"[" * 2**22))
    with pytest.raises(AuditError, match="too long"):
        audit(tmp_path / "bad")


def test_another_nodes_export_is_not_taken_for_this_ones(file: Path) -> None:
    said = cli("audit", str(file), "--node", "ab" * 32, fails=True)
    assert "the manifest is by the node" in said


def test_epochs_in_a_row_are_chained(pool: Pool, file: Path, tmp_path: Path) -> None:
    close_next(pool)
    second = tmp_path / "epoch-1.jsonl.xz"
    export(pool, 1, second)
    assert "epoch 1 holds: 0 receipts" in cli("audit", str(file), str(second))
    assert "does not follow" in cli("audit", str(second), str(file), fails=True)


def close_next(pool: Pool) -> None:
    epochs(pool).close(1)


def test_the_commands(node: Node, tmp_path: Path) -> None:
    url = node.environ["POUW_DATABASE_URL"]
    assert "0 receipts 15 clients 3 allocated" in cli("epoch", "list", url=url)
    out = tmp_path / "out.jsonl.xz"
    assert "epoch 0, 15 receipts, 3 rewards" in cli("epoch", "export", "0", "--out", str(out), url=url)
    assert "holds: 15 receipts" in cli("audit", str(out))
    assert "never overwritten" in cli("epoch", "export", "0", "--out", str(out), fails=True, url=url)
    assert "not closed" in cli("epoch", "export", "99", "--out", str(tmp_path / "x"), fails=True, url=url)
    missing = str(tmp_path / "no" / "folder")
    assert "cannot be written" in cli("epoch", "export", "0", "--out", missing, fails=True, url=url)
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl.xz"]


def test_an_export_without_all_its_receipts_is_not_written(node: Node, pool: Pool, tmp_path: Path) -> None:
    with pool.connection() as db:
        db.execute("CREATE TABLE kept AS SELECT * FROM receipts")
        db.execute("DELETE FROM receipts WHERE id = (SELECT min(id) FROM receipts)")
    with pytest.raises(EpochError, match="archived"):
        export(pool, 0, tmp_path / "x")
    assert not list(tmp_path.iterdir())
    with pool.connection() as db:
        db.execute("DELETE FROM receipts")
        db.execute("INSERT INTO receipts SELECT * FROM kept")
        db.execute("DROP TABLE kept")


def test_epochs_over_http(node: Node) -> None:
    shown = node.http.get(f"{API}/epochs/0")
    assert shown.status == 200
    assert "immutable" in shown.headers["Cache-Control"]
    text = canonical(shown.json["manifest"])
    KEY_OF_NODE = bytes.fromhex(shown.json["node_id"])  # noqa: N806
    assert KEY.public_key == KEY_OF_NODE
    manifest = decode(text)
    assert manifest.receipts == 15
    listed = node.http.get(f"{API}/epochs?limit=1").json
    assert len(listed["items"]) == 1
    for path in ("/epochs/99", "/epochs/99999999999999999999", "/epochs/-1", "/epochs/x"):
        assert node.http.get(API + path).status == 404
    assert node.http.get(f"{API}/epochs?limit=0").status == 400


def test_a_proof_over_http(node: Node, pool: Pool) -> None:
    from pouw.protocol.merkle import includes, leaf_hash

    with pool.connection() as db:
        nonce, body, signature = db.execute("SELECT receipt_nonce, body, signature FROM receipts LIMIT 1").fetchone()  # type: ignore[misc]
    answer = node.http.get(f"{API}/epochs/0/proof/{nonce.hex()}")
    [proof] = answer.json["proofs"]
    assert proof["leaf_hash"] == leaf_hash(body + signature).hex()
    siblings = [bytes.fromhex(each) for each in proof["path"]]
    leaf, root = leaf_hash(body + signature), bytes.fromhex(answer.json["root"])
    assert includes(leaf, proof["index"], answer.json["tree_size"], siblings, root)
    assert node.http.get(f"{API}/epochs/0/proof/{'ab' * 32}").status == 404
    assert node.http.get(f"{API}/epochs/77/proof/{nonce.hex()}").status == 404
    for bad in ("zz", "ab", nonce.hex().upper(), "ab" * 33):
        assert node.http.get(f"{API}/epochs/0/proof/{bad}").status == 400


def test_status_and_stats(node: Node) -> None:
    status = node.http.get(f"{API}/status").json
    assert status["last_closed_epoch"] in (0, 1)
    assert status["rules"]["weights"]["signature"] == 3
    spent = 26 * 10**12
    assert int(status["budget_left_atoms"]) == RULES.budget - spent
    stats = node.http.get(f"{API}/stats").json
    assert stats["closed"]["receipts"] == 15
    assert stats["atoms"]["pending"] == str(spent)
    assert int(stats["atoms"]["allocated"]) + int(stats["atoms"]["unallocated"]) == int(stats["atoms"]["computed"])
