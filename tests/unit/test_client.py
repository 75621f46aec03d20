"""The parts of the client that need no node: keys and the checks that are its useful work."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from pouw.client import keys
from pouw.client.content import hash_file, verify_hash, verify_merkle_path, verify_signature
from pouw.errors import KeyMaterialError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_kept_encrypted(tmp_path: Path) -> None:
    key, path = keys.generate(), tmp_path / "key"
    keys.save(path, key, "correct horse")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert bytes(key) not in path.read_bytes()
    assert keys.load(path, "correct horse") == key
    with pytest.raises(KeyMaterialError, match="passphrase is wrong"):
        keys.load(path, "wrong horse")
    with pytest.raises(KeyMaterialError, match="needs its passphrase"):
        keys.load(path)
    with pytest.raises(KeyMaterialError, match="never overwritten"):
        keys.save(path, key)


def test_a_key_is_kept_plain_where_nobody_gives_a_passphrase(tmp_path: Path) -> None:
    key, path = keys.generate(), tmp_path / "key"
    keys.save(path, key)
    assert keys.load(path) == key


@pytest.mark.parametrize("text", ["{}", "{", '{"kdf": "md5", "salt": "", "box": ""}', '{"kdf": 1}', "nonsense"])
def test_what_is_no_key_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(KeyMaterialError):
        keys.load(tmp_path / "key", "x")
    with pytest.raises(KeyMaterialError):
        keys.load(tmp_path / "missing")


def tree(leaves: list[bytes]) -> bytes:
    """The root of RFC 9162, 2.1.1, straight from its definition."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + tree(leaves[:split]) + tree(leaves[split:])).digest()


def path_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """The inclusion path of RFC 9162, 2.1.3.1, straight from its definition."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*path_of(index, leaves[:split]), tree(leaves[split:])]
    return [*path_of(index - split, leaves[split:]), tree(leaves[:split])]


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=40), st.data())
def test_merkle_paths_hold_for_their_leaf_and_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = tree(leaves), path_of(index, leaves)
    assert verify_merkle_path(leaves[index], index, len(leaves), path, root)
    assert not verify_merkle_path(leaves[index] + b"!", index, len(leaves), path, root)
    assert not verify_merkle_path(leaves[index], index, len(leaves), [*path, b"x" * 32], root)
    assert not verify_merkle_path(leaves[index], len(leaves), len(leaves), path, root)
    if path:
        assert not verify_merkle_path(leaves[index], index, len(leaves), path[:-1], root)


def test_hashes_and_signatures(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content" * 300_000)
    digest, size = hash_file(tmp_path / "file")
    assert size == 2_100_000
    assert verify_hash(b"content" * 300_000, digest)
    assert not verify_hash(b"other", digest)
    key = SigningKey.generate()
    signature = key.sign(b"content").signature
    assert verify_signature(b"content", signature, bytes(key.verify_key))
    assert not verify_signature(b"other", signature, bytes(key.verify_key))
    assert not verify_signature(b"content", b"short", bytes(key.verify_key))
