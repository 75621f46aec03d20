"""``pouw work`` on real files, against a real node."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pouw.client.files import find_files
from pouw.client.node import Nodes
from pouw.keys import load_or_create
from pouw.protocol.dids import did_from_key
from pouw.protocol.reasons import Detail
from tests.ports import free_port

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import StartNode
    from tests.support import Http, Identity, Node

STDLIB = Path(sysconfig.get_path("stdlib"))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pouw", "work", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_pythons_own_library_is_hashed_and_attested(
    shared_node: Node, db: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """Hundreds of real files: all of 1,024 bytes or more are accepted, smaller ones are not."""
    folders = [STDLIB / name for name in ("asyncio", "email", "encodings", "test", "unittest", "json")]
    files = list(find_files(folders))
    large = sum(path.stat().st_size >= 1024 for path in files)
    assert len(files) > 300
    done = run("--url", shared_node.http.base, "--key", tmp_path / "client.key", "--json", *folders)
    result = json.loads(done.stdout)
    assert result["accepted"] == large
    assert result["rejected"] == [{"reason": "POLICY", "detail": "too_few_bytes", "count": len(files) - large}]
    assert done.returncode == 1
    did = did_from_key(bytes(load_or_create(tmp_path / "client.key").verify_key))
    assert result["client_did"] == did
    rows = db.execute("SELECT count(*), sum(bytes_verified) FROM receipts WHERE client_did = %s", (did,)).fetchone()
    sizes = [path.stat().st_size for path in files]
    assert rows == (large, sum(size for size in sizes if size >= 1024))


def test_a_receipt_names_the_files_content(shared_node: Node, db: psycopg.Connection[Any], tmp_path: Path) -> None:
    content = os.urandom(5000)
    (tmp_path / "file").write_bytes(content)
    done = run("--url", shared_node.http.base, "--key", tmp_path / "key", tmp_path / "file")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == ["accepted", "1"]
    did = did_from_key(bytes(load_or_create(tmp_path / "key").verify_key))
    body = db.execute("SELECT body FROM receipts WHERE client_did = %s", (did,)).fetchone()
    assert body is not None
    assert hashlib.sha256(content).digest() in body[0]


def test_the_table_counts_by_reason(shared_node: Node, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * 1023)
    (tmp_path / "large").write_bytes(b"x" * 1024)
    (tmp_path / "empty").write_bytes(b"")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "large")
    done = run("--url", shared_node.http.base, "--key", tmp_path / "key", tmp_path / "small", tmp_path / "large",
               tmp_path / "empty", folder)  # fmt: skip
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["accepted", "1"],
        ["POLICY", "too_few_bytes", "2"],
    ]
    assert done.returncode == 1


def test_the_same_signed_receipts_again_are_all_replays(http: Http, client: Identity) -> None:
    items = client.items(http.challenge(), 30)
    nodes = Nodes([http.base])
    assert len(nodes.submit(client.batch(items)).accepted) == 30
    again = nodes.submit(client.batch(items))
    assert again.accepted == ()
    assert {item.detail for item in again.rejected} == {Detail.DUPLICATE_NONCE}
    nodes.close()


def test_challenges_are_renewed_when_they_are_used_up(start_node: StartNode, shared_url: str, tmp_path: Path) -> None:
    node = start_node(shared_url, challenge_max_receipts=3, challenge_max_bytes=10_000)
    for number in range(10):
        (tmp_path / str(number)).write_bytes(os.urandom(4000))
    done = run("--url", node.http.base, "--key", tmp_path.parent / "renew.key", "--json", tmp_path)
    assert json.loads(done.stdout)["accepted"] == 10
    assert done.returncode == 0
    node.stop()


def test_a_node_that_is_not_there_is_one_clear_line_and_nothing_is_lost(shared_node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 2000)
    options = ("--key", tmp_path / "key", "--patience", "0", "--json", tmp_path / "file")
    done = run("--url", f"http://127.0.0.1:{free_port()}", *options)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("pouw: http://127.0.0.1:")
    assert json.loads(run("--url", shared_node.http.base, *options).stdout)["accepted"] == 1


def test_no_arguments_are_usage_not_a_traceback() -> None:
    done = run()
    assert done.returncode == 2
    assert "Usage:" in done.stderr
